/**
 * What a machine remembers about the stages of one place, such as a Docker engine: in the user's cache folder, since all
 * of it can be found out again.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { readCacheFile, writeCacheFile } from "./cache-file";
import { cacheFolder } from "./folders";
import { removeAbandonedLocks, takeLock, type HeldLock } from "./lock";
import type { StageRecord } from "./stage-reason";
import { learnCosts, type StageCosts } from "./stages";

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

  /** Forgets that builds which have died were making stages. */
  removeAbandonedLocks(): void {
    removeAbandonedLocks(path.join(this.folder, "locks"));
  }

  /** Waits until nobody else on this machine makes this stage. Two that make it all the same lose time, nothing else. */
  lock(key: string, signal: AbortSignal): Promise<HeldLock> {
    return takeLock(path.join(this.folder, "locks", key), signal);
  }

  private read<T>(name: string): T | undefined {
    return readCacheFile<T>(path.join(this.folder, name));
  }

  private write(name: string, content: unknown): void {
    writeCacheFile(path.join(this.folder, name), content);
  }
}
