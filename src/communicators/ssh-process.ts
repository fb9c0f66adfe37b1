import { constants } from "node:os";
import type { Readable } from "node:stream";
import type { ClientChannel } from "ssh2";
import { ConnectionLostError } from "../core/errors";
import { throwIfAborted } from "../core/retry";

/** A command that runs on the machine. */
export class RemoteProcess {
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Its exit code (128 and the signal's number if one ended it), once both outputs were read; rejects if the connection is lost or the signal aborted. */
  readonly exitCode: Promise<number>;
  private isOver = false;
  private code: number | undefined;

  constructor(
    private readonly channel: ClientChannel,
    private readonly signal: AbortSignal,
    private readonly connection: { onLost: (listener: (error: ConnectionLostError) => void) => () => void },
  ) {
    this.stdout = channel;
    this.stderr = channel.stderr;
    channel.on("exit", (code: number | null, name?: string) => {
      this.code = code ?? 128 + (constants.signals[name as keyof typeof constants.signals] ?? 0);
    });
    channel.on("error", () => undefined); // every failure ends in "close"
    this.exitCode = this.waitForEnd();
    this.exitCode.catch(() => undefined); // who waits is told; who only writes sees that nobody reads
  }

  /** Sends input when the machine is ready for it; false if the command reads no more. */
  async write(chunk: Uint8Array): Promise<boolean> {
    if (this.isOver || !this.channel.writable) return false;
    if (this.channel.write(chunk)) return true;
    await new Promise<void>((resolve) => {
      this.channel.once("drain", resolve);
      this.exitCode.then(
        () => resolve(),
        () => resolve(),
      );
    });
    return !this.isOver;
  }

  /** Ends the input. */
  end(chunk?: Uint8Array): void {
    if (this.isOver || !this.channel.writable) return;
    if (chunk) this.channel.end(chunk);
    else this.channel.end();
  }

  /** Ends the command, as far as the machine listens: without a terminal sshd itself does not. */
  stop(): void {
    if (this.isOver) return;
    this.channel.signal("KILL");
    this.channel.close();
  }

  private async waitForEnd(): Promise<number> {
    const { channel, signal } = this;
    let stopListening: () => void = () => undefined;
    const abort = (): void => {
      this.stop();
      channel.emit("kiln-abort");
    };
    try {
      return await new Promise<number>((resolve, reject) => {
        stopListening = this.connection.onLost((error) =>
          this.code === undefined ? reject(error) : resolve(this.code),
        );
        channel.once("kiln-abort", () => reject(signal.reason));
        signal.addEventListener("abort", abort);
        channel.once("close", () => {
          if (this.code !== undefined) resolve(this.code);
          else
            reject(
              new ConnectionLostError(
                "the command was cut off: the machine closed its channel without an exit code",
              ),
            );
        });
      });
    } catch (error) {
      throwIfAborted(signal);
      throw error;
    } finally {
      this.isOver = true;
      stopListening();
      signal.removeEventListener("abort", abort);
    }
  }
}
