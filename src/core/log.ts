import * as fs from "node:fs";
import * as path from "node:path";
import { StringDecoder } from "node:string_decoder";
import { formatDuration } from "./duration";
import type { Redactor } from "./redact";

/** How many log files are kept for one image. */
const KEPT_LOGS = 20;
const TAIL_LINES = 20;
/** A line longer than this is written in pieces. */
const LONGEST_LINE = 64 * 1024;
const OVERLAP = 16 * 1024;

/** What a build tells: everything goes to its log file, and in short to whoever watches. */
export interface Log {
  /** Where everything is written. */
  readonly file: string;
  info(text: string): void;
  /** Also shown to the user, and kept: what happened, where nothing is wrong. */
  tell(text: string): void;
  /** Also shown to the user, and kept. */
  warn(text: string): void;
  /** Output of a command, in any pieces. */
  output(chunk: Buffer): void;
  /** What is going on inside a step, e.g. bytes sent; shown, not written. */
  progress(text: string): void;
  /** The last lines of output since `startCommand`. */
  tail(): string[];
  /** Starts the tail anew; with `hidden`, output is neither written nor shown. */
  startCommand(options?: { hidden?: boolean }): void;
  endCommand(): void;
}

/** Who watches a build while it runs. */
export interface Watcher {
  /** The state of the build changed: show it now or soon. */
  update(status: { step: number; steps: number; title: string; startedAt: number; detail: string }): void;
  /** Something to be shown, and kept. */
  tell(text: string): void;
  warn(text: string): void;
}

export class BuildLog implements Log {
  readonly file: string;
  private readonly stream: number;
  private readonly decoder = new StringDecoder("utf8");
  private readonly startedAt = Date.now();
  private rest = "";
  private lines: string[] = [];
  private hidden = false;
  private current = { step: 0, steps: 0, title: "", startedAt: Date.now(), detail: "" };

  constructor(
    folder: string,
    buildId: string,
    private readonly redactor: Redactor,
    private readonly watcher: Watcher,
  ) {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.file = path.join(folder, `${buildId}.log`);
    this.stream = fs.openSync(this.file, "a", 0o600);
    dropOldLogs(folder, this.file);
  }

  info(text: string): void {
    for (const line of this.redactor.redact(text).split("\n")) this.write(line);
  }

  tell(text: string): void {
    this.info(text);
    this.watcher.tell(this.redactor.redact(text));
  }

  warn(text: string): void {
    this.info(`warning: ${text}`);
    this.watcher.warn(this.redactor.redact(text));
  }

  output(chunk: Buffer): void {
    if (this.hidden) return;
    this.rest += this.decoder.write(chunk);
    // A carriage return alone redraws a line (progress bars): each redraw is a line of its own.
    const pieces = this.rest.split(/\r?\n|\r(?=.)/s);
    this.rest = pieces.pop() ?? "";
    if (this.rest.length > LONGEST_LINE) {
      // What stays behind is longer than any secret, so that one at the cut is found whole with the next piece.
      const masked = this.redactor.redact(this.rest);
      pieces.push(masked.slice(0, -OVERLAP));
      this.rest = masked.slice(-OVERLAP);
    }
    for (const piece of pieces) this.line(piece);
  }

  progress(text: string): void {
    this.current.detail = this.redactor.redact(text);
    this.watcher.update(this.current);
  }

  tail(): string[] {
    return this.lines.slice(-TAIL_LINES);
  }

  startCommand(options: { hidden?: boolean } = {}): void {
    this.lines = [];
    this.rest = "";
    this.hidden = options.hidden ?? false;
  }

  endCommand(): void {
    const rest = this.rest + this.decoder.end();
    this.rest = "";
    if (rest !== "" && !this.hidden) this.line(rest);
    this.hidden = false;
  }

  startStep(step: number, steps: number, title: string): void {
    this.current = { step, steps, title: this.redactor.redact(title), startedAt: Date.now(), detail: "" };
    this.info(`== step ${step} of ${steps}: ${title}`);
    this.watcher.update(this.current);
  }

  endStep(title: string, milliseconds: number, failure?: string): void {
    this.info(
      `== ${failure === undefined ? "done" : "failed"}: ${title} (${formatDuration(milliseconds)})${failure ? `: ${failure}` : ""}`,
    );
  }

  redact(text: string): string {
    return this.redactor.redact(text);
  }

  close(): void {
    fs.closeSync(this.stream);
  }

  private line(raw: string): void {
    const text = this.redactor.redact(raw);
    this.write(`   ${text}`);
    this.lines.push(text);
    if (this.lines.length > TAIL_LINES * 4) this.lines = this.lines.slice(-TAIL_LINES);
    if (text.trim() !== "") this.progress(text.trim());
  }

  private write(line: string): void {
    const elapsed = ((Date.now() - this.startedAt) / 1000).toFixed(2).padStart(8);
    fs.writeSync(this.stream, `${elapsed} ${line}\n`);
  }
}

function dropOldLogs(folder: string, current: string): void {
  const logs = fs
    .readdirSync(folder)
    .filter((name) => name.endsWith(".log"))
    .map((name) => path.join(folder, name))
    .filter((file) => file !== current)
    .map((file) => ({ file, time: fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((a, b) => b.time - a.time);
  for (const { file } of logs.slice(KEPT_LOGS - 1)) fs.rmSync(file, { force: true });
}
