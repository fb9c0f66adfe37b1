/** The file that a machine is made from: a local one in its place, or one from a URL, downloaded once for all builds of this machine. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { readCacheFile, writeCacheFile } from "../core/cache-file";
import { cacheFolder } from "../core/folders";
import { withLock } from "../core/lock";
import type { Checksum } from "./checksum";
import { digestFile, rememberDigests } from "./digest-memory";
import { download } from "./download";
import type { FileVersion } from "./download-draft";
import { hideSecrets } from "./http-request";

export interface SourceRequest {
  /** A URL (http, https, file), or a path relative to `cwd`. */
  source: string;
  /** Undefined: any content is taken, and a server is asked each time whether it has another. */
  checksum: Checksum | undefined;
  cwd: string;
  signal: AbortSignal;
  onProgress: (doneBytes: number, totalBytes: number | undefined) => void;
  /** How long a server may be silent. Default: 60 s. */
  idleMs?: number;
  /** Pause before another try. Default: 1 s. */
  retryMs?: number;
}

export interface SourceFile {
  /** Absolute. Others may read it at the same time: nobody may write to it. */
  path: string;
  sha256: string;
}

/** Gives the file, verified. What was verified once is believed as long as the file's size and times stay. */
export async function fetchSource(request: SourceRequest): Promise<SourceFile> {
  const { source, cwd } = request;
  if (/^https?:/i.test(source)) return fetchFromUrl(request);
  return useLocal(request, /^file:/i.test(source) ? fileURLToPath(source) : path.resolve(cwd, source));
}

async function useLocal(request: SourceRequest, file: string): Promise<SourceFile> {
  const { checksum, signal, onProgress } = request;
  const algorithms = checksum ? (["sha256", checksum.algorithm] as const) : (["sha256"] as const);
  const digests = await digestFile(file, algorithms, signal, onProgress);
  const found = checksum && digests.get(checksum.algorithm);
  if (checksum && found !== checksum.digest)
    throw new Error(
      `Using ${file}: its ${checksum.algorithm} is ${found}, expected ${checksum.digest}. Is it the right file, and whole?`,
    );
  return { path: file, sha256: digests.get("sha256") ?? "" };
}

/** What is known about a finished download. */
interface DownloadRecord {
  /** For people who look into the folder. */
  url: string;
  version: FileVersion;
}

/** The first build downloads; those that waited for it find the file. */
async function fetchFromUrl(request: SourceRequest): Promise<SourceFile> {
  const { source, checksum, signal } = request;
  const file = path.join(cacheFolder(), "downloads", nameDownload(source, checksum));
  return withLock(`${file}.lock`, signal, async () => {
    const present = await findPresent(file, request);
    if (present && checksum) return present;
    const known = present && readCacheFile<DownloadRecord>(`${file}.json`)?.version;
    const fetched = await download({ ...request, url: source, path: file, known });
    if (fetched === "known") return present ?? (await useLocal(request, file));
    rememberDigests(file, fetched.digests);
    const record: DownloadRecord = { url: hideSecrets(source), version: fetched.version };
    writeCacheFile(`${file}.json`, record);
    return { path: file, sha256: fetched.digests.get("sha256") ?? "" };
  });
}

/** An earlier download, if it is still what it was. */
async function findPresent(
  file: string,
  { checksum, signal }: SourceRequest,
): Promise<SourceFile | undefined> {
  if (!fs.existsSync(file)) return undefined;
  const algorithms = checksum ? (["sha256", checksum.algorithm] as const) : (["sha256"] as const);
  const digests = await digestFile(file, algorithms, signal, () => undefined);
  if (!checksum || digests.get(checksum.algorithm) === checksum.digest)
    return { path: file, sha256: digests.get("sha256") ?? "" };
  fs.rmSync(file, { force: true });
  return undefined;
}

/** By the digest, so that the same file from two mirrors is one; by the URL where there is none. */
function nameDownload(url: string, checksum: Checksum | undefined): string {
  if (checksum) return `${checksum.algorithm}-${checksum.digest}`;
  return `url-${createHash("sha256").update(url).digest("hex")}`;
}
