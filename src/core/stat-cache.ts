import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { endianness } from "node:os";
import { join } from "node:path";
import { StatRecords, recordBytes } from "./stat-record";

// One header is as long as one record: magic (16), key of the source (32), SHA-256 of the records (32).
const magic = Buffer.from(`kiln stats 1 ${endianness()}\n`);
const keyEnd = 48;
const headerBytes = recordBytes;

const maxFolderBytes = 256 * 1024 * 1024;
const maxFolderFiles = 256;
const dayMs = 24 * 60 * 60 * 1000;
const fileSuffix = ".stats";

/** Where the cache of one source is kept: its rules belong to the name, so that two lists of the same folder do not push each other out. */
export interface StatCacheFile {
  folder: string;
  key: Buffer;
}

/** Names the cache of a source, by its real path and its ignore rules. */
export function locateStatCache(cacheDir: string, root: string, ignore: readonly string[]): StatCacheFile {
  const key = createHash("sha256")
    .update(JSON.stringify([root, ...ignore]))
    .digest();
  return { folder: join(cacheDir, "sources"), key };
}

/** The hashes of an earlier run, each valid as long as the file's stats are what they were. */
export class StatCache {
  // Open addressing: 0 is free, n is record n - 1.
  private readonly table: Int32Array;

  constructor(readonly records: StatRecords) {
    const size = 2 ** Math.ceil(Math.log2(records.count * 2 + 2));
    this.table = new Int32Array(size);
    for (let i = 0; i < records.count; i++) {
      let slot = records.pathHash(i) & (size - 1);
      while (this.table[slot] !== 0) slot = (slot + 1) & (size - 1);
      this.table[slot] = i + 1;
    }
  }

  /** The hash of a file with these stats, or undefined if it must be read. */
  find(pathHash: number, stats: fs.Stats): Buffer | undefined {
    const index = this.findIndex(pathHash, stats);
    return index === undefined ? undefined : this.records.hash(index);
  }

  /** The same in hex. */
  findHex(pathHash: number, stats: fs.Stats): string | undefined {
    const index = this.findIndex(pathHash, stats);
    return index === undefined ? undefined : this.records.hashHex(index);
  }

  private findIndex(pathHash: number, stats: fs.Stats): number | undefined {
    const mask = this.table.length - 1;
    for (let slot = pathHash & mask; ; slot = (slot + 1) & mask) {
      const entry = this.table[slot] ?? 0;
      if (entry === 0) return undefined;
      if (this.records.hasStats(entry - 1, stats, pathHash)) return entry - 1;
    }
  }
}

/** Reads a cache. One that is missing, damaged, of another format or of another source is empty: it is never an error. */
export function loadStatCache(file: StatCacheFile): StatCache {
  const bytes = readIfPossible(join(file.folder, fileName(file)));
  return new StatCache(bytes === undefined || !isSound(bytes, file.key) ? noRecords() : viewRecords(bytes));
}

/** Writes a cache in one step, and removes the least recently used ones of other sources. A folder that cannot be written means no cache. */
export function saveStatCache(file: StatCacheFile, records: Uint8Array): void {
  if (headerBytes + records.length > maxFolderBytes) return;
  const path = join(file.folder, fileName(file));
  const partial = `${path}.${randomBytes(6).toString("hex")}`;
  try {
    fs.mkdirSync(file.folder, { recursive: true, mode: 0o700 });
    fs.writeFileSync(partial, Buffer.concat([magic, file.key, checksum(records), records]), { mode: 0o600 });
    fs.renameSync(partial, path);
    removeOldCaches(file.folder);
  } catch {
    // Without a cache everything still works, only slower: nothing a user should have to read about in every run.
    removeIfPossible(partial);
  }
}

/** Notes that a cache was of use, so that it outlives those that are not. At most one write a day. */
export function touchStatCache(file: StatCacheFile, nowMs: number): void {
  const path = join(file.folder, fileName(file));
  try {
    if (fs.statSync(path).mtimeMs < nowMs - dayMs) fs.utimesSync(path, nowMs / 1000, nowMs / 1000);
  } catch {
    // Removed or write-protected meanwhile: then it is only forgotten earlier.
  }
}

function removeOldCaches(folder: string): void {
  const files = fs.readdirSync(folder).flatMap((name) => {
    const stats = fs.statSync(join(folder, name), { throwIfNoEntry: false });
    return stats === undefined
      ? []
      : [{ path: join(folder, name), sizeBytes: stats.size, mtimeMs: stats.mtimeMs }];
  });
  files.sort((a, b) => b.mtimeMs - a.mtimeMs);
  let sizeBytes = 0;
  for (const [i, file] of files.entries()) {
    sizeBytes += file.sizeBytes;
    if (i >= maxFolderFiles || sizeBytes > maxFolderBytes) fs.rmSync(file.path, { force: true });
  }
}

function fileName(file: StatCacheFile): string {
  return file.key.toString("hex", 0, 16) + fileSuffix;
}

function removeIfPossible(path: string): void {
  try {
    fs.rmSync(path, { force: true });
  } catch {
    // A folder that let us write nothing lets us remove nothing; what is left over is removed with the old caches.
  }
}

function readIfPossible(path: string): Uint8Array | undefined {
  try {
    return fs.readFileSync(path);
  } catch {
    return undefined; // usually there is none yet
  }
}

function isSound(bytes: Uint8Array, key: Buffer): boolean {
  if (bytes.length < headerBytes || (bytes.length - headerBytes) % recordBytes !== 0) return false;
  return (
    magic.equals(bytes.subarray(0, magic.length)) &&
    key.equals(bytes.subarray(magic.length, keyEnd)) &&
    checksum(bytes.subarray(headerBytes)).equals(bytes.subarray(keyEnd, headerBytes))
  );
}

function viewRecords(bytes: Uint8Array): StatRecords {
  // Node may place a small file anywhere in its pool, but doubles must be aligned.
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : new Uint8Array(bytes);
  return new StatRecords(aligned.buffer, aligned.byteOffset + headerBytes, bytes.length / recordBytes - 1);
}

function noRecords(): StatRecords {
  return new StatRecords(new ArrayBuffer(0), 0, 0);
}

function checksum(records: Uint8Array): Buffer {
  return createHash("sha256").update(records).digest();
}
