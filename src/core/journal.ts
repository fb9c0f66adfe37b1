/**
 * What a build is about to make, written down before it is made, so that what a killed one left can be found. A file
 * per build; it goes when the build has cleaned up behind itself.
 */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { stateFolder } from "./folders";
import { writeWholeFile } from "./whole-file";

export interface JournalEntry {
  buildId: string;
  /** The process that builds: an entry is swept only when it is dead. */
  owner: ProcessIdentity;
  urn: string;
  platform: string;
  /** Where the build runs, e.g. the Docker engine's address and its id. */
  endpoint: string;
  engineId: string;
  /** The build machine's name; it is swept only if it has exactly this name. An update has none. */
  machine?: string;
  /** The finished artifact, once there is one. */
  artifactId?: string;
  /** The mark that the finished artifact gets. */
  claim?: { owner: string; tag: string };
  /** What post-processors are about to make. */
  made: string[];
  /** Kept for inspection (`onError: "abort"`) until then, in milliseconds since 1970. */
  keepUntilMs?: number;
}

export interface ProcessIdentity {
  /** Host, boot and process namespace: a pid means nothing outside of them. */
  machine: string;
  pid: number;
  startedAt: string;
}

function journalFolder(): string {
  return path.join(stateFolder(), "journal");
}

/** Written to the disk before this returns. */
export function writeJournal(entry: JournalEntry): void {
  const file = path.join(journalFolder(), `${entry.buildId}.json`);
  writeWholeFile(file, JSON.stringify(entry), { flush: true });
}

export function removeJournal(buildId: string): void {
  fs.rmSync(path.join(journalFolder(), `${buildId}.json`), { force: true });
}

/** Entries of this machine whose process is dead and which nobody wants to look at any more. */
export function listDeadEntries(nowMs = Date.now()): JournalEntry[] {
  return readEntries().filter(
    (entry) => isDead(entry.owner) && (entry.keepUntilMs === undefined || entry.keepUntilMs < nowMs),
  );
}

/** Builds whose machine somebody may still want to look at. */
export function listKeptBuilds(nowMs = Date.now()): string[] {
  return readEntries().flatMap(({ buildId, keepUntilMs = 0 }) => (keepUntilMs > nowMs ? [buildId] : []));
}

function readEntries(): JournalEntry[] {
  const folder = journalFolder();
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .flatMap((name) => {
      const file = path.join(folder, name);
      const text = readIfThere(file);
      if (text === undefined) return [];
      const entry = parseEntry(text);
      // One that cannot be read (a full disk, another program) names nothing that could be found by it.
      if (!entry) fs.rmSync(file, { force: true });
      return entry ?? [];
    });
}

function parseEntry(text: string): JournalEntry | undefined {
  try {
    const entry = JSON.parse(text) as Partial<JournalEntry> | null;
    return entry?.buildId && entry.owner && entry.made ? (entry as JournalEntry) : undefined;
  } catch {
    return undefined;
  }
}

/** Another process may sweep at the same time. */
function readIfThere(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

let self: ProcessIdentity | undefined;

export function identifyProcess(): ProcessIdentity {
  return (self ??= { machine: identifyMachine(), pid: process.pid, startedAt: startOf(process.pid) ?? "" });
}

/** A process of another machine is never called dead: it cannot be asked. */
export function isDead(owner: ProcessIdentity): boolean {
  const [host, boot] = owner.machine.split("|");
  const { machine } = identifyProcess();
  const [ownHost, ownBoot] = machine.split("|");
  if (host !== ownHost) return false;
  if (boot !== ownBoot) return true;
  if (owner.machine !== machine) return false;
  return startOf(owner.pid) !== owner.startedAt;
}

function identifyMachine(): string {
  const boot = readIfThere("/proc/sys/kernel/random/boot_id")?.trim() ?? "";
  const namespace = process.platform === "linux" ? fs.readlinkSync("/proc/self/ns/pid") : "";
  return [os.hostname(), boot, namespace].join("|");
}

/** Something that a second process of the same number would not share; undefined if there is no such process. */
function startOf(pid: number): string | undefined {
  if (process.platform === "linux") {
    const stat = readIfThere(`/proc/${pid}/stat`);
    const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields?.[0] === "Z" ? undefined : fields?.[19];
  }
  try {
    process.kill(pid, 0);
    return "alive";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? "alive" : undefined;
  }
}
