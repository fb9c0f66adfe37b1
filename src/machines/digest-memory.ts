/** The digests of big local files, remembered as long as nothing that the system keeps about a file has moved. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { readCacheFile, writeCacheFile } from "../core/cache-file";
import { hashFile } from "../core/content-hash";
import { cacheFolder } from "../core/folders";
import { withLock } from "../core/lock";
import type { ChecksumAlgorithm } from "./checksum";

/** A file that changed so shortly before it was hashed could change again without its times moving (some file systems keep them to 2 s). */
const SETTLING_MS = 3000;

interface DigestRecord {
  /** Device, inode, size and times, as one text. */
  stats: string;
  digests: Partial<Record<ChecksumAlgorithm, string>>;
}

export type Digests = Map<ChecksumAlgorithm, string>;

/** The digests of a file; it is read only if they are not known, and by one build at a time. */
export async function digestFile(
  file: string,
  algorithms: readonly ChecksumAlgorithm[],
  signal: AbortSignal,
  onProgress: (doneBytes: number, totalBytes: number) => void,
): Promise<Digests> {
  statFile(file);
  return withLock(`${recordPath(file)}.lock`, signal, async () => {
    const known = findKnown(file, algorithms);
    if (known) return known;
    const startedMs = Date.now();
    const before = statFile(file);
    const digests = await hashFile(file, algorithms, signal, (done) => onProgress(done, before.size));
    const after = statFile(file);
    if (describeStats(after) !== describeStats(before))
      throw new Error(`Reading ${file}: it changed meanwhile. Try again when nothing changes it.`);
    if (Math.max(before.mtimeMs, before.ctimeMs) < startedMs - SETTLING_MS) rememberDigests(file, digests);
    return digests;
  });
}

/** Notes digests that were found out otherwise. */
export function rememberDigests(file: string, digests: Digests): void {
  const stats = describeStats(statFile(file));
  const earlier = readCacheFile<DigestRecord>(recordPath(file));
  const known = earlier?.stats === stats ? earlier.digests : {};
  writeCacheFile(recordPath(file), { stats, digests: { ...known, ...Object.fromEntries(digests) } });
}

function findKnown(file: string, algorithms: readonly ChecksumAlgorithm[]): Digests | undefined {
  const record = readCacheFile<DigestRecord>(recordPath(file));
  if (record?.stats !== describeStats(statFile(file))) return undefined;
  const digests: Digests = new Map();
  for (const algorithm of algorithms) {
    const digest = record.digests[algorithm];
    if (digest === undefined) return undefined;
    digests.set(algorithm, digest);
  }
  return digests;
}

function recordPath(file: string): string {
  const name = createHash("sha256").update(file).digest("hex").slice(0, 32);
  return path.join(cacheFolder(), "digests", `${name}.json`);
}

function describeStats({ dev, ino, size, mtimeMs, ctimeMs }: fs.Stats): string {
  return [dev, ino, size, mtimeMs, ctimeMs].join(" ");
}

function statFile(file: string): fs.Stats {
  const stats = fs.statSync(file, { throwIfNoEntry: false });
  if (stats?.isFile()) return stats;
  const reason = stats ? "it is not a file" : "it does not exist. Is the path right?";
  throw new Error(`Using ${file}: ${reason}`);
}
