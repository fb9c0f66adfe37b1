import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { sha256Bytes } from "./content-hash";
import { type SourceProblem, describeFailure } from "./source-problems";
import { type EntryBatch, entryKind } from "./source-walk";
import type { StatCache } from "./stat-cache";
import { hashPath, recordState } from "./stat-record";

// Coarse file systems keep times to 2 s. A file that changed within this span before it was hashed could
// change again without its times moving, so its hash is not kept for another run.
const settlingMs = 3000;

const chunkBytes = 512 * 1024;
// A name that became a FIFO or a link since the walk must neither block nor be followed. Windows knows neither flag.
const openFlags = fs.constants.O_RDONLY | (fs.constants.O_NOFOLLOW ?? 0) | (fs.constants.O_NONBLOCK ?? 0);

/** One thread's share in hashing the entries of a source. */
export class EntryHasher {
  /** Paths are relative to the source. */
  readonly problems: SourceProblem[] = [];
  /** What the symbolic links point to, by path. */
  readonly targets = new Map<string, string>();
  private chunk: Buffer | undefined;

  /**
   * @param startedMs the time before the walk began
   * @param onFile hears the size of each file that must be read, and may throw to stop
   */
  constructor(
    private readonly root: string,
    private readonly startedMs: number,
    private readonly cache?: StatCache,
    private readonly onFile?: (sizeBytes: number) => void,
  ) {}

  /** Hashes what no other thread takes. A problem with one entry does not keep it from the next. */
  hashBatch(batch: EntryBatch): void {
    for (let index = batch.claim(); index !== undefined; index = batch.claim()) this.hashEntry(batch, index);
  }

  private hashEntry(batch: EntryBatch, index: number): void {
    const path = batch.paths[index] ?? "";
    const fullPath = path === "" ? this.root : `${this.root}/${path}`;
    try {
      const stats = fs.lstatSync(fullPath);
      const pathHash = hashPath(path);
      batch.records.setStats(index, stats, pathHash);
      const kind = batch.kinds[index];
      if (kind === entryKind.file && stats.isFile()) this.hashFile(batch, index, fullPath, stats, pathHash);
      else if (kind === entryKind.symlink && stats.isSymbolicLink()) this.hashTarget(batch, index, fullPath);
      else if (kind !== entryKind.directory || !stats.isDirectory())
        this.report(path, "was replaced while it was read. Try again when nothing changes it");
    } catch (error) {
      this.problems.push(describeFailure(path, error));
    }
  }

  private report(path: string, reason: string): void {
    this.problems.push({ path, reason });
  }

  private hashFile(
    { records }: EntryBatch,
    index: number,
    fullPath: string,
    stats: fs.Stats,
    pathHash: number,
  ): void {
    const known = this.cache?.find(pathHash, stats);
    if (known !== undefined) return records.setHash(index, known, recordState.cached);
    this.onFile?.(stats.size);
    const file = fs.openSync(fullPath, openFlags);
    try {
      const { hash, sizeBytes } = this.hashContent(file, stats.size);
      const isSettled = Math.max(stats.mtimeMs, stats.ctimeMs) < this.startedMs - settlingMs;
      const isSame = isSettled && sizeBytes === stats.size && haveSameTimes(stats, fs.fstatSync(file));
      records.setHash(index, hash, isSame ? recordState.settled : recordState.young);
      records.setSizeBytes(index, sizeBytes);
    } finally {
      fs.closeSync(file);
    }
  }

  /** Memory stays flat, however long the file. */
  private hashContent(file: number, expectedBytes: number): { hash: Buffer; sizeBytes: number } {
    const chunk = (this.chunk ??= Buffer.allocUnsafeSlow(chunkBytes));
    let length = fs.readSync(file, chunk, 0, chunkBytes, null);
    // Most files end in the first chunk. A short read alone does not prove the end: network file systems have them too.
    if (length < chunkBytes && length >= expectedBytes)
      return { hash: sha256Bytes(chunk.subarray(0, length)), sizeBytes: length };
    const hash = createHash("sha256");
    let sizeBytes = 0;
    while (length > 0) {
      hash.update(length === chunkBytes ? chunk : chunk.subarray(0, length));
      sizeBytes += length;
      length = fs.readSync(file, chunk, 0, chunkBytes, null);
    }
    return { hash: hash.digest(), sizeBytes };
  }

  private hashTarget({ paths, records }: EntryBatch, index: number, fullPath: string): void {
    const path = paths[index] ?? "";
    const raw = fs.readlinkSync(fullPath, "buffer");
    const text = raw.toString();
    if (!raw.equals(Buffer.from(text))) {
      return this.report(
        path,
        "is a link to a name that is not UTF-8. Rename that or add the link to `ignore`",
      );
    }
    const target = process.platform === "win32" ? text.replaceAll("\\", "/") : text;
    this.targets.set(path, target);
    records.setHash(index, sha256Bytes(Buffer.from(target)), recordState.young);
  }
}

function haveSameTimes(a: fs.Stats, b: fs.Stats): boolean {
  return a.ino === b.ino && a.mtimeMs === b.mtimeMs && a.ctimeMs === b.ctimeMs;
}
