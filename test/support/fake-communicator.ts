import { ConnectionLostError } from "../../src/core/errors";
import type { Communicator, ExecOptions, ExecResult, LocalSource } from "../../src/core/model";

/** A machine that records what is done to it, and answers as a test says. */
export class FakeCommunicator implements Communicator {
  readonly os = "unix";
  readonly files = new Map<string, LocalSource>();
  readonly commands: { command: string; environment: Record<string, string>; stdin: string }[] = [];
  readonly downloads: { remote: string; local: string; folder: boolean }[] = [];
  reconnects = 0;
  /** What the n-th command prints and ends with; the last answer stays. One that has `begun` prints what it says first. */
  answers: { output?: string; exitCode?: number; lost?: boolean; begun?: boolean }[] = [{}];

  reconnect(): Promise<void> {
    this.reconnects++;
    return Promise.resolve();
  }

  exec(command: string, options: ExecOptions): Promise<ExecResult> {
    this.commands.push({
      command,
      environment: options.environment ?? {},
      stdin: options.stdin?.toString() ?? "",
    });
    const answer = this.answers.length > 1 ? this.answers.shift() : this.answers[0];
    const start = /echo (kiln-start-\w+)/.exec(command)?.[1];
    if (answer?.begun) options.onOutput?.(Buffer.from(`${start}\n`));
    if (answer?.lost) return Promise.reject(new ConnectionLostError("the machine went away"));
    if (answer?.output) options.onOutput?.(Buffer.from(answer.output));
    return Promise.resolve({ exitCode: answer?.exitCode ?? 0 });
  }

  upload(local: LocalSource, remote: string): Promise<void> {
    this.files.set(remote, local);
    return Promise.resolve();
  }

  download(remote: string, local: string, options: { folder: boolean }): Promise<void> {
    this.downloads.push({ remote, local, folder: options.folder });
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
