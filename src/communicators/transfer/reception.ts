import { randomBytes } from "node:crypto";
import { formatVariables, READ_VARIABLES } from "../ssh-command";
import { LastWords, MissingProgramError, type Machine, type MachineProcess } from "./machine";
import { RECEIVE_SCRIPT } from "./receive-script";
import type { UploadTarget } from "./target";

/** What the machine's script answered to the list of what is to come. */
export interface Answer {
  /** Names whose content the destination lacks; undefined: all of them. */
  needed: Set<string> | undefined;
  /** Names that arrived in an earlier try. */
  staged: Set<string>;
  /** Files that arrived in part. */
  parts: Map<string, { sizeBytes: number; hash: string }>;
  /** There is nothing to do. */
  isDone: boolean;
}

/** The machine said that it could not; `damaged` names what arrived and was not what was sent. */
export class ReceptionError extends Error {
  constructor(
    message: string,
    readonly damaged: readonly string[],
  ) {
    super(message);
    this.name = "ReceptionError";
  }
}

/** One run of the script that receives. */
export class Reception {
  /** Programs that the machine has. */
  readonly programs = new Set<string>();
  private readonly words: LastWords;
  private readonly listeners: (() => void)[] = [];
  private rest = "";
  private hasEnded = false;
  private failure: string | undefined;
  private missing: string | undefined;
  private isDone = false;
  private isThere: boolean | undefined;
  private isReady = false;
  private compared: number | undefined;
  private readonly damaged: string[] = [];
  private readonly needed = new Set<string>();
  private readonly staged = new Set<string>();
  private readonly parts: Answer["parts"] = new Map();

  private constructor(
    private readonly process: MachineProcess,
    private readonly nonce: string,
  ) {
    this.words = new LastWords(process.stderr);
    // A chunk may end within a letter.
    process.stdout.setEncoding("utf8").on("data", (text: string) => this.read(text));
    process.exitCode.then(
      () => this.wake(true),
      () => this.wake(true),
    );
  }

  /** Starts the script, and tells it where to; a second or later try goes on with what an earlier one left. */
  static async start(
    machine: Machine,
    target: UploadTarget,
    { tries, signal }: { tries: number; signal: AbortSignal },
  ): Promise<Reception> {
    const process = await machine.start(`${READ_VARIABLES}${RECEIVE_SCRIPT}`, signal);
    const reception = new Reception(process, randomBytes(6).toString("hex"));
    await reception.introduce({ ...target, RESUME: tries > 1 ? String(tries) : "" });
    return reception;
  }

  /** Says what the script wants to know next. */
  introduce(variables: Record<string, string>): Promise<boolean> {
    return this.write(Buffer.from(formatVariables({ ...variables, NONCE: this.nonce }, { export: false })));
  }

  /** Sends; false if the script reads no more: `finish` says why. */
  write(chunk: Uint8Array): Promise<boolean> {
    return this.process.write(chunk);
  }

  /** Whether there is something at the destination; undefined if the script has ended. */
  async readGreeting(): Promise<boolean | undefined> {
    while (this.isThere === undefined && !this.hasEnded) await this.waitForWord();
    return this.hasEnded ? undefined : this.isThere;
  }

  /** The answer to a list of files that was sent. */
  async readAnswer(asked: readonly { name: string }[]): Promise<Answer> {
    while (!this.isReady && !this.isDone && !this.hasEnded) await this.waitForWord();
    if (!this.isReady && !this.isDone) await this.finish();
    // What was not compared for whatever reason is sent: only a full account may spare it.
    const names = new Set(asked.map(({ name }) => name));
    const isKnown = this.compared === names.size && [...this.needed].every((name) => names.has(name));
    return {
      needed: isKnown ? this.needed : undefined,
      staged: this.staged,
      parts: this.parts,
      isDone: this.isDone,
    };
  }

  /** Waits until everything is in its place; throws what the script says. */
  async finish(): Promise<void> {
    this.process.end();
    const exitCode = await this.process.exitCode;
    if (this.missing !== undefined) throw new MissingProgramError(this.missing);
    if (this.isDone && exitCode === 0) return;
    const words = this.words.toString();
    if (this.failure === undefined && this.isThere === undefined && words === "")
      throw new MissingProgramError("shell");
    const reason = this.failure ?? `the script on the machine ended with ${exitCode}`;
    throw new ReceptionError(words === "" ? reason : `${reason}: ${words}`, this.damaged);
  }

  /** Ends the input early and waits for the script to see it; what it says then is not of interest. */
  async giveUp(): Promise<void> {
    this.process.end();
    await Promise.allSettled([this.process.exitCode]);
  }

  private read(text: string): void {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop() ?? "";
    const mark = `kiln-${this.nonce} `;
    for (const line of lines) if (line.startsWith(mark)) this.readLine(line.slice(mark.length));
    this.wake(false);
  }

  private readLine(line: string): void {
    const space = line.indexOf(" ");
    const [word, value] = space < 0 ? [line, ""] : [line.slice(0, space), line.slice(space + 1)];
    if (word === "need") this.needed.add(value);
    else if (word === "staged") this.staged.add(value);
    else if (word === "damaged") this.damaged.push(value);
    else if (word === "can") this.programs.add(value);
    else if (word === "there" || word === "new") this.isThere = word === "there";
    else if (word === "ready") this.isReady = true;
    else if (word === "done") this.isDone = true;
    else if (word === "failed") this.failure = value;
    else if (word === "lacks") this.missing = value;
    else if (word === "compared")
      this.compared = value
        .split(" ")
        .map(Number)
        .reduce((a, b) => a + b, 0);
    else if (word === "part") {
      const [, sizeBytes, hash, name] = /^(\d+) (\w+) (.*)$/s.exec(value) ?? [];
      if (name !== undefined) this.parts.set(name, { sizeBytes: Number(sizeBytes), hash: hash ?? "" });
    }
  }

  private waitForWord(): Promise<void> {
    return new Promise((resolve) => this.listeners.push(resolve));
  }

  private wake(hasEnded: boolean): void {
    this.hasEnded ||= hasEnded;
    for (const listener of this.listeners.splice(0)) listener();
  }
}
