import type { ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { sleep, throwIfAborted } from "../../core/retry";
import type { QemuMachine } from "./driver";
import { DISK_NODE, quote, serialPath } from "./machine-arguments";
import type { QmpClient } from "./qmp";

const POLL_MS = 20;
/** The default limits it to what a slow network carries. */
const UNLIMITED_BYTES_PER_SECOND = 2 ** 40;
/** Text mode of a PC: 25 lines of 80 characters, each with a byte of colours. */
const TEXT_SCREEN = { address: 0xb8000, lines: 25, columns: 80 };
const SHOWN_LINES = 20;

/** A machine whose QEMU this process has started. */
export class RunningMachine implements QemuMachine {
  private node = DISK_NODE;
  private saves = 0;

  constructor(
    private readonly child: ChildProcess,
    private readonly qmp: QmpClient,
    private readonly folder: string,
  ) {}

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  async findPort(): Promise<number> {
    const text = await this.qmp.executeHuman("info usernet");
    const port = /TCP\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)/.exec(text)?.[1];
    if (port === undefined) throw new Error(`Looking for the forwarded port: QEMU says "${text.trim()}"`);
    return Number(port);
  }

  async pressKeys(keys: readonly { code: string; down: boolean }[]): Promise<void> {
    const events = keys.map(({ code, down }) => ({
      type: "key",
      data: { down, key: { type: "qcode", data: code } },
    }));
    await this.qmp.execute("input-send-event", { events });
  }

  async save(
    memoryFile: string,
    overlay: string,
    whileStopped: () => void,
    signal: AbortSignal,
  ): Promise<void> {
    const next = `${DISK_NODE}-${++this.saves}-saved`;
    await this.qmp.execute("migrate-set-parameters", { "max-bandwidth": UNLIMITED_BYTES_PER_SECOND });
    await this.qmp.execute("stop");
    try {
      await this.qmp.execute("blockdev-snapshot-sync", {
        "node-name": this.node,
        "snapshot-file": overlay,
        "snapshot-node-name": next,
        format: "qcow2",
        mode: "existing",
      });
      this.node = next;
      whileStopped();
      // What writes it takes it as it finds it.
      fs.closeSync(fs.openSync(memoryFile, "w", 0o600));
      await this.qmp.execute("migrate", { uri: `exec:cat > ${quote(memoryFile)}` });
      await this.waitUntilMigrated(signal);
    } finally {
      if (!this.hasEnded) await this.qmp.execute("cont");
    }
  }

  private async waitUntilMigrated(signal: AbortSignal): Promise<void> {
    for (;;) {
      const state = (await this.qmp.execute("query-migrate")) as { status?: string; "error-desc"?: string };
      if (state.status === "completed") return;
      if (state.status === "failed" || state.status === "cancelled")
        throw new Error(
          `Writing the machine's memory: ${state["error-desc"] ?? state.status}. Is there space?`,
        );
      if (signal.aborted) await this.qmp.execute("migrate_cancel");
      throwIfAborted(signal);
      await sleep(POLL_MS, signal);
    }
  }

  /** Waits until memory that was given at the start is loaded, and lets the machine run. */
  async goOn(signal: AbortSignal): Promise<void> {
    for (;;) {
      const { status } = (await this.qmp.execute("query-status")) as { status: string };
      if (status !== "inmigrate") break;
      await sleep(POLL_MS, signal);
    }
    await this.qmp.execute("cont");
  }

  async pressPowerButton(): Promise<void> {
    await this.qmp.execute("system_powerdown");
  }

  async waitUntilEnded(signal: AbortSignal): Promise<void> {
    while (!this.hasEnded) await sleep(POLL_MS, signal);
    if (this.child.exitCode === 0) return;
    const how = this.child.signalCode ?? `exit code ${this.child.exitCode}`;
    const said = readIfThere(path.join(this.folder, "qemu.log"));
    throw new Error(`QEMU ended by itself (${how})${said === "" ? "" : `: ${said}`}`);
  }

  async describeConsole(): Promise<string> {
    const screen = this.hasEnded ? "" : await this.readScreen();
    const serial = readIfThere(serialPath(this.folder));
    const parts = [
      screen === "" ? "" : `The last screen of its console:\n${screen}`,
      serial === "" ? "" : `The end of what it wrote to its serial port:\n${serial}`,
    ].filter((part) => part !== "");
    return parts.length > 0
      ? parts.join("\n")
      : "It has shown no text, and written nothing to its serial port";
  }

  private async readScreen(): Promise<string> {
    const file = path.join(this.folder, "screen");
    const { address, lines, columns } = TEXT_SCREEN;
    await this.qmp.execute("pmemsave", { val: address, size: lines * columns * 2, filename: file });
    const cells = fs.readFileSync(file);
    const rows = Array.from({ length: lines }, (_, row) =>
      Array.from({ length: columns }, (_, column) => toCharacter(cells[(row * columns + column) * 2] ?? 0))
        .join("")
        .trimEnd(),
    );
    const text = rows.join("\n").trim();
    // In a graphics mode the same place holds no text.
    const odd = text.split("?").length - 1;
    return odd > text.length / 4 ? "" : lastLines(text);
  }

  async kill(): Promise<void> {
    this.qmp.close();
    if (this.hasEnded) return;
    this.child.ref();
    this.child.kill("SIGKILL");
    while (!this.hasEnded) await new Promise((resolve) => this.child.once("exit", resolve));
  }
}

function toCharacter(code: number): string {
  if (code === 0) return " ";
  return code >= 32 && code < 127 ? String.fromCharCode(code) : "?";
}

function readIfThere(file: string): string {
  return fs.existsSync(file) ? lastLines(fs.readFileSync(file, "latin1")) : "";
}

/** Without the codes that move a cursor or set a colour. */
function lastLines(text: string): string {
  const plain = text.replace(/\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>c]|\r/g, "").trimEnd();
  return plain.split("\n").slice(-SHOWN_LINES).join("\n");
}
