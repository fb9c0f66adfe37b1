import { constants } from "node:os";
import type { Readable } from "node:stream";
import type { ClientChannel } from "ssh2";
import { ConnectionLostError } from "../core/errors";
import { throwIfAborted } from "../core/retry";

/**
 * OpenSSH's server moves all that it holds for a command each time it gets more: on a link that is faster than the command,
 * what runs far ahead of it costs more than the link.
 */
const AHEAD_BYTES = 512 * 1024;
/** Who sends so much at a time sends more, and must know the link. */
const MUCH_BYTES = 64 * 1024;
/** What is on its way on a link of 100 MB/s; where round trips are long, that is more than any server takes. */
const LINK_BYTES_PER_MS = 100 * 1024;
/** Who says nothing for so long tells only after more: some servers wait until half of what they take is used up. */
const SILENCE_MS = 50;

/** ssh2's count of what the machine still takes. */
interface Flow {
  outgoing: { window: number };
}

/** A command that runs on the machine. */
export class RemoteProcess {
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Its exit code (128 and the signal's number if one ended it), once both outputs were read; rejects if the connection is lost or the signal aborted. */
  readonly exitCode: Promise<number>;
  private readonly ended: Promise<void>;
  private isOver = false;
  private knowsLink = false;
  private readonly fullWindow: number;
  private silences = 0;
  private onWindow: () => void = () => undefined;
  private code: number | undefined;

  constructor(
    private readonly channel: ClientChannel,
    private readonly signal: AbortSignal,
    private readonly connection: {
      readonly roundTripMs: number;
      confirmRoundTrip: () => Promise<void>;
      onLost: (listener: (error: ConnectionLostError) => void) => () => void;
      writeTogether: (write: () => void) => void;
    },
  ) {
    this.fullWindow = this.window;
    watchWindow((channel as unknown as Flow).outgoing, () => this.onWindow());
    this.stdout = channel;
    this.stderr = channel.stderr;
    channel.on("exit", (code: number | null, name?: string) => {
      this.code = code ?? 128 + (constants.signals[name as keyof typeof constants.signals] ?? 0);
    });
    channel.on("error", () => undefined); // every failure ends in "close"
    this.exitCode = this.waitForEnd();
    // Who waits is told; who only writes sees that nobody reads.
    this.ended = this.exitCode.then(
      () => undefined,
      () => undefined,
    );
  }

  /** Sends input when the machine is ready for it, and is done with the chunk then; false if the command reads no more. */
  async write(chunk: Uint8Array): Promise<boolean> {
    if (chunk.length >= MUCH_BYTES && !this.knowsLink) {
      this.knowsLink = true;
      await Promise.race([this.connection.confirmRoundTrip(), this.ended]);
    }
    await this.waitUntilNear();
    if (this.isOver || !this.channel.writable) return false;
    const taken = new Promise<boolean>((resolve) =>
      this.connection.writeTogether(() => this.channel.write(chunk, (error) => resolve(!error))),
    );
    return (await Promise.race([taken, this.ended])) === true && !this.isOver;
  }

  private get window(): number {
    return (this.channel as unknown as Flow).outgoing.window;
  }

  private get aheadBytes(): number {
    return this.fullWindow - this.window;
  }

  private get mostAheadBytes(): number {
    return (AHEAD_BYTES + this.connection.roundTripMs * LINK_BYTES_PER_MS) * 2 ** this.silences;
  }

  private async waitUntilNear(): Promise<void> {
    while (!this.isOver && this.aheadBytes > this.mostAheadBytes)
      if (!(await this.waitForWindow())) this.silences++;
  }

  /** False if the machine said nothing for long. */
  private waitForWindow(): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, SILENCE_MS, false);
      this.onWindow = (): void => {
        clearTimeout(timer);
        resolve(true);
      };
    });
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
      this.onWindow();
      stopListening();
      signal.removeEventListener("abort", abort);
    }
  }
}

/** ssh2 tells of a machine that takes more only when it took nothing at all before. */
function watchWindow(flow: Flow["outgoing"], onGrowth: () => void): void {
  let { window } = flow;
  Object.defineProperty(flow, "window", {
    get: () => window,
    set: (value: number) => {
      const hasGrown = value > window;
      window = value;
      if (hasGrown) onGrowth();
    },
  });
}
