import * as fs from "node:fs";
import { formatDuration } from "../core/duration";
import type { Watcher } from "../core/log";
import { logOf } from "./engine-log";

const REFRESH_MS = 400;
const TITLE_LENGTH = 40;
const DETAIL_LENGTH = 60;

/** Shows a build in its resource's row: live on a terminal, one line per step elsewhere. */
export class BuildProgress implements Watcher {
  private readonly log;
  private readonly live = isInteractive();
  private latest: Parameters<Watcher["update"]>[0] | undefined;
  private timer: NodeJS.Timeout | undefined;
  private toldStep = 0;

  constructor(urn: string) {
    this.log = logOf(urn);
    if (this.live) this.timer = setInterval(() => this.show(), REFRESH_MS).unref();
  }

  update(status: Parameters<Watcher["update"]>[0]): void {
    this.latest = status;
    if (status.step === this.toldStep) return;
    this.toldStep = status.step;
    if (this.live) this.show();
    else this.log.info(`step ${status.step} of ${status.steps}: ${status.title}`);
  }

  tell(text: string): void {
    this.log.info(text);
  }

  warn(text: string): void {
    this.log.warn(text);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** What moves stands first: the row ends at the terminal's edge. */
  private show(): void {
    if (!this.latest) return;
    const { step, steps, title, startedAt, detail } = this.latest;
    const seconds = Math.floor((Date.now() - startedAt) / 1000);
    const elapsed = seconds < 60 ? `${seconds}s` : formatDuration(seconds * 1000);
    const rest = detail === "" ? "" : ` | ${shorten(detail, DETAIL_LENGTH)}`;
    this.log.status(`step ${step} of ${steps}, ${elapsed}: ${shorten(title, TITLE_LENGTH)}${rest}`);
  }
}

function shorten(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/**
 * Whether somebody watches the engine's display. The engine does not say; its own output does.
 * `PULUMI_KILN_PROGRESS=live` or `steps` decides where this guesses wrong.
 */
function isInteractive(): boolean {
  const wish = process.env["PULUMI_KILN_PROGRESS"];
  if (wish) return wish === "live";
  if (process.env["CI"] && process.env["CI"] !== "false") return false;
  if (process.platform !== "linux") return true;
  try {
    return isEngineOnTerminal();
  } catch {
    return false; // another user's process, or no /proc: then one line per step is the safe choice
  }
}

/** The engine is an ancestor: between it and this process there may be a shell. */
function isEngineOnTerminal(): boolean {
  for (let pid = process.ppid; pid > 1; pid = parentOf(pid)) {
    if (fs.readFileSync(`/proc/${pid}/comm`, "utf8").trim() !== "pulumi") continue;
    return /^\/dev\/(pts\/|tty)/.test(fs.readlinkSync(`/proc/${pid}/fd/1`));
  }
  return false;
}

function parentOf(pid: number): number {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
}
