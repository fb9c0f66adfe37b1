/**
 * What a machine remembers about the stages of one place, such as a Docker engine: in the user's cache folder, since all
 * of it can be found out again.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { cacheFolder } from "./folders";
import { identifyProcess, isDead, type ProcessIdentity } from "./journal";
import { sleep } from "./retry";
import type { StageRecord } from "./stage-reason";
import { learnCosts, type StageCosts } from "./stages";

const LOCK_POLL_MS = 100;

/** A stage that only this process makes now; `waited` if another one did before. */
export interface StageLock {
  waited: boolean;
  release(): void;
}

export class StageMemory {
  private readonly folder: string;

  /** `placeId`: the place's own id, whatever its address. */
  constructor(placeId: string) {
    const name = createHash("sha256").update(placeId).digest("hex").slice(0, 16);
    this.folder = path.join(cacheFolder(), "stages", name);
  }

  /** What was measured here. */
  readCosts(): StageCosts {
    return this.read<StageCosts>("costs.json") ?? {};
  }

  /** Takes a measurement in. */
  learn(measured: Parameters<typeof learnCosts>[1]): void {
    this.write("costs.json", learnCosts(this.readCosts(), measured));
  }

  /** What a resource's last build was made of. */
  readRecord(owner: string): StageRecord | undefined {
    return this.read<StageRecord>(path.join("builds", `${owner}.json`));
  }

  writeRecord(owner: string, record: StageRecord): void {
    this.write(path.join("builds", `${owner}.json`), record);
  }

  /** Notes that stages were of use now. */
  touch(keys: readonly string[]): void {
    for (const key of keys) this.write(path.join("used", key), "");
  }

  /** When a stage was last of use to a build on this machine. */
  readUsedMs(key: string): number | undefined {
    return fs.statSync(path.join(this.folder, "used", key), { throwIfNoEntry: false })?.mtimeMs;
  }

  /** Forgets stages that are no more. */
  forgetOthers(keys: ReadonlySet<string>): void {
    const folder = path.join(this.folder, "used");
    if (!fs.existsSync(folder)) return;
    for (const name of fs.readdirSync(folder))
      if (!keys.has(name)) fs.rmSync(path.join(folder, name), { force: true });
  }

  /**
   * Waits until nobody else on this machine makes this stage, and says so to others. A holder that died is passed over.
   * Two that take over at the same moment both build: that costs time, nothing else.
   */
  async lock(key: string, signal: AbortSignal): Promise<StageLock> {
    const file = path.join(this.folder, "locks", key);
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    let waited = false;
    while (!tryLock(file)) {
      const holder = readJson<ProcessIdentity>(file);
      if (holder && isAlive(holder)) {
        waited = true;
        await sleep(LOCK_POLL_MS, signal);
      } else if (holder || isOld(file)) fs.rmSync(file, { force: true });
      else await sleep(LOCK_POLL_MS, signal); // it is being written
    }
    return { waited, release: () => fs.rmSync(file, { force: true }) };
  }

  private read<T>(name: string): T | undefined {
    return readJson<T>(path.join(this.folder, name));
  }

  private write(name: string, content: unknown): void {
    const file = path.join(this.folder, name);
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    const draft = `${file}.${process.pid}.draft`;
    fs.writeFileSync(draft, JSON.stringify(content), { mode: 0o600 });
    fs.renameSync(draft, file);
  }
}

function tryLock(file: string): boolean {
  try {
    fs.writeFileSync(file, JSON.stringify(identifyProcess()), { flag: "wx", mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** One that cannot be asked (another machine on the same folder) is not waited for: it could be for ever. */
function isAlive(holder: ProcessIdentity): boolean {
  return holder.machine === identifyProcess().machine && !isDead(holder);
}

/** A lock without a holder is that of a process which died between making and writing it. */
function isOld(file: string): boolean {
  const stats = fs.statSync(file, { throwIfNoEntry: false });
  return stats !== undefined && Date.now() - stats.mtimeMs > 10 * LOCK_POLL_MS;
}

/** Undefined for what is missing or damaged: it is only a cache. */
function readJson<T>(file: string): T | undefined {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")) as T;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
