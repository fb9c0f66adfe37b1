import { ConnectionLostError } from "../../core/errors";
import type { Communicator, ExecOptions, ExecResult, LocalSource } from "../../core/model";
import type { MachineConnection } from "./driver";

/** Talks to the machine that the build has at the moment: it may be exchanged for one that was saved. */
export class QemuCommunicator implements Communicator {
  readonly os = "unix";
  connection: MachineConnection | undefined;

  private get current(): MachineConnection {
    if (!this.connection) throw new ConnectionLostError("Reaching the build's machine: there is none yet");
    return this.connection;
  }

  reconnect(signal: AbortSignal): Promise<void> {
    return this.current.reconnect(signal);
  }

  exec(command: string, options: ExecOptions): Promise<ExecResult> {
    return this.current.exec(command, options);
  }

  upload(local: LocalSource, remote: string, signal: AbortSignal): Promise<void> {
    return this.current.upload(local, remote, signal);
  }

  download(remote: string, local: string, options: { folder: boolean; signal: AbortSignal }): Promise<void> {
    return this.current.download(remote, local, options);
  }

  async close(): Promise<void> {
    await this.connection?.close();
    this.connection = undefined;
  }
}
