import type { Stats } from "node:fs";

/**
 * What is known about one entry, in 80 bytes: plain memory, so that threads share it and the cache is a
 * file of it, without 50,000 objects made, copied and collected.
 *
 * Five doubles: device, inode, size in bytes, mtime and ctime in milliseconds. A double keeps a time of this
 * century to a quarter of a microsecond; `lstat` with 64-bit integers takes twice as long and would add nothing,
 * since a file that changed so shortly before it was hashed is not trusted anyway. Then 32 bytes of SHA-256,
 * a 32-bit hash of the path, 16 bits of mode, and the state.
 */
export const recordBytes = 80;
const recordDoubles = recordBytes / 8;
const recordWords = recordBytes / 4;
const hashOffset = 40;
const hashBytes = 32;
const pathWord = 18;
const modeOffset = 76;
const stateOffset = 78;

/** How far a record may be relied on. */
export const recordState = {
  /** Not filled in, or there was a problem with it. */
  empty: 0,
  /** Its hash came from the cache. */
  cached: 1,
  /** It was hashed just now, and had not changed for long enough to be put into the cache. */
  settled: 2,
  /** It was hashed just now; it is so new that a later change could leave its times as they are. */
  young: 3,
} as const;

/** A view on memory that holds records one after the other. */
export class StatRecords {
  readonly bytes: Buffer;
  private readonly doubles: Float64Array;
  private readonly words: Uint32Array;

  /** @param byteOffset where the first record begins: a multiple of 8 */
  constructor(
    memory: ArrayBufferLike,
    byteOffset: number,
    readonly count: number,
  ) {
    this.bytes = Buffer.from(memory as ArrayBuffer, byteOffset, count * recordBytes);
    this.doubles = new Float64Array(memory, byteOffset, count * recordDoubles);
    this.words = new Uint32Array(memory, byteOffset, count * recordWords);
  }

  /** Notes everything but the hash. */
  setStats(index: number, stats: Stats, path: number): void {
    const start = index * recordDoubles;
    this.doubles[start] = stats.dev;
    this.doubles[start + 1] = stats.ino;
    this.doubles[start + 2] = stats.size;
    this.doubles[start + 3] = stats.mtimeMs;
    this.doubles[start + 4] = stats.ctimeMs;
    this.words[index * recordWords + pathWord] = path;
    this.bytes[index * recordBytes + modeOffset] = stats.mode & 0xff;
    this.bytes[index * recordBytes + modeOffset + 1] = (stats.mode >> 8) & 0xff;
  }

  /** Whether nothing that the system keeps about the file has moved since the record was made. */
  hasStats(index: number, stats: Stats, path: number): boolean {
    const start = index * recordDoubles;
    return (
      this.words[index * recordWords + pathWord] === path &&
      this.doubles[start] === stats.dev &&
      this.doubles[start + 1] === stats.ino &&
      this.doubles[start + 2] === stats.size &&
      this.doubles[start + 3] === stats.mtimeMs &&
      this.doubles[start + 4] === stats.ctimeMs
    );
  }

  setHash(index: number, hash: Uint8Array, state: number): void {
    this.bytes.set(hash, index * recordBytes + hashOffset);
    this.bytes[index * recordBytes + stateOffset] = state;
  }

  /** The 32 bytes themselves, not a copy. */
  hash(index: number): Buffer {
    const start = index * recordBytes + hashOffset;
    return this.bytes.subarray(start, start + hashBytes);
  }

  hashHex(index: number): string {
    const start = index * recordBytes + hashOffset;
    return this.bytes.toString("hex", start, start + hashBytes);
  }

  record(index: number): Uint8Array {
    return this.bytes.subarray(index * recordBytes, (index + 1) * recordBytes);
  }

  pathHash(index: number): number {
    return this.words[index * recordWords + pathWord] ?? 0;
  }

  sizeBytes(index: number): number {
    return this.doubles[index * recordDoubles + 2] ?? 0;
  }

  setSizeBytes(index: number, sizeBytes: number): void {
    this.doubles[index * recordDoubles + 2] = sizeBytes;
  }

  mtimeMs(index: number): number {
    return this.doubles[index * recordDoubles + 3] ?? 0;
  }

  mode(index: number): number {
    const at = index * recordBytes + modeOffset;
    return (this.bytes[at] ?? 0) | ((this.bytes[at + 1] ?? 0) << 8);
  }

  state(index: number): number {
    return this.bytes[index * recordBytes + stateOffset] ?? recordState.empty;
  }
}

/** A quick 32-bit hash (FNV-1a) that spreads paths over a table; equality is decided by the rest of the record. */
export function hashPath(path: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < path.length; i++) hash = Math.imul(hash ^ path.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
