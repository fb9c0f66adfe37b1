import type { Readable } from "node:stream";
import type { SFTPWrapper } from "ssh2";

/** A machine as the transfer engine sees it: something that runs shell scripts, over a connection that may break. */
export interface Machine {
  /** For errors: how people know it. */
  readonly name: string;
  /** Bytes per second that the link was last seen to take; kept from one transfer to the next. */
  linkRate: number | undefined;
  /** Starts a script in a POSIX shell. */
  start(script: string, signal: AbortSignal): Promise<MachineProcess>;
  /** Starts its SFTP service, if it has one. */
  startSftp?(signal: AbortSignal): Promise<SFTPWrapper>;
  /** Waits until it can be reached again. */
  reconnect(signal: AbortSignal): Promise<void>;
  /** Shows how far a transfer is. */
  showProgress(text: string): void;
}

/** A script that runs there. Both outputs must be read, else it never ends. */
export interface MachineProcess {
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Rejects with `ConnectionLostError` if the connection is lost. */
  readonly exitCode: Promise<number>;
  /** Waits until the machine takes more; false if the script reads no more. */
  write(chunk: Uint8Array): Promise<boolean>;
  end(): void;
  stop(): void;
}

/** The machine has no shell, or lacks a program that the engine needs there. */
export class MissingProgramError extends Error {
  constructor(
    readonly program: string,
    options?: ErrorOptions,
  ) {
    super(`it has no ${program}`, options);
    this.name = "MissingProgramError";
  }
}

/** What the machine's own programs said last, for an error. */
export class LastWords {
  private text = "";

  constructor(stream: Readable) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      this.text = (this.text + text).slice(-4000);
    });
  }

  toString(): string {
    const lines = this.text.trim().split("\n").filter(Boolean);
    return [...new Set(lines)].slice(-3).join("; ");
  }
}
