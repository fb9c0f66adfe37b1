import { randomBytes } from "node:crypto";

/** A line in a command's output that says that what matters begins now: it is taken out, and known to have come. */
export class StartLine {
  hasCome = false;
  private readonly mark = `kiln-start-${randomBytes(6).toString("hex")}`;
  private held = Buffer.alloc(0);

  constructor(private readonly onOutput: (chunk: Buffer) => void) {}

  /** The shell command that prints it. */
  get command(): string {
    return `echo ${this.mark}`;
  }

  /** What comes before it may be a shell's profile that prints, or an error. */
  read(chunk: Buffer): void {
    if (this.hasCome) return this.onOutput(chunk);
    this.held = Buffer.concat([this.held, chunk]);
    const from = this.held.indexOf(this.mark);
    const end = from < 0 ? -1 : this.held.indexOf("\n", from);
    if (end < 0) return;
    this.hasCome = true;
    for (const part of [this.held.subarray(0, from), this.held.subarray(end + 1)])
      if (part.length > 0) this.onOutput(part);
  }

  /** The command has ended: what was held back is all there is. */
  flush(): void {
    if (!this.hasCome && this.held.length > 0) this.onOutput(this.held);
    this.held = Buffer.alloc(0);
  }
}
