/** Downloads that go on where they were cut, in this run or in the next. */
import type { IncomingMessage } from "node:http";
import { TimeoutError } from "../core/errors";
import { sleep, throwIfAborted } from "../core/retry";
import type { Checksum, ChecksumAlgorithm } from "./checksum";
import { DownloadDraft, type FileVersion } from "./download-draft";
import { HttpStatusError, describeStatus, hideSecrets, openUrl } from "./http-request";

/** Tries in a row that brought nothing. */
const MOST_FRUITLESS_TRIES = 5;
const RETRY_MS = 1000;

export interface DownloadOptions {
  url: string;
  /** Where the finished file goes; the draft stands beside it. */
  path: string;
  checksum: Checksum | undefined;
  /** Of a file that is there already: if the server has no other, nothing is downloaded. */
  known: FileVersion | undefined;
  signal: AbortSignal;
  onProgress: (doneBytes: number, totalBytes: number | undefined) => void;
  idleMs?: number;
  /** Pause before another try, which grows with each. Default: 1 s. */
  retryMs?: number;
}

/** What was downloaded; "known" if the known file is still the right one. */
export type Downloaded = { digests: Map<ChecksumAlgorithm, string>; version: FileVersion } | "known";

/** Downloads, verifies, and only then gives the file its name. A file with a wrong checksum is removed. */
export async function download(options: DownloadOptions): Promise<Downloaded> {
  const { path, checksum, signal } = options;
  const draft = new DownloadDraft(`${path}.part`, checksum ? [checksum.algorithm, "sha256"] : ["sha256"]);
  try {
    await draft.resume(signal);
    if (!(await fetchWhole(draft, options))) {
      await draft.remove();
      return "known";
    }
    if (checksum && draft.digest(checksum.algorithm) !== checksum.digest && draft.isJoined) {
      // The parts may be of two versions that the server calls by the same name, or by none.
      await draft.restart({});
      await fetchWhole(draft, options);
    }
    await requireChecksum(draft, options);
    const digests = draft.listDigests();
    await draft.finish(path);
    return { digests, version: draft.version };
  } catch (error) {
    throwIfAborted(signal);
    throw explainFailure(error, draft, options.url);
  } finally {
    await draft.close();
  }
}

/** False if the server says that the known file is the right one. */
async function fetchWhole(draft: DownloadDraft, options: DownloadOptions): Promise<boolean> {
  const { signal, retryMs = RETRY_MS } = options;
  for (let fruitless = 0; ;) {
    const before = draft.sizeBytes;
    try {
      const answer = await fetchRest(draft, options);
      if (answer !== "again") return answer === "whole";
    } catch (error) {
      throwIfAborted(signal);
      if (!isPassing(error)) throw error;
      fruitless = draft.sizeBytes > before ? 1 : fruitless + 1;
      if (fruitless >= MOST_FRUITLESS_TRIES) throw error;
      await sleep(retryMs * fruitless, signal);
    }
  }
}

/** One request. "again": the server has another version than the draft, which is empty now. */
async function fetchRest(
  draft: DownloadDraft,
  options: DownloadOptions,
): Promise<"whole" | "known" | "again"> {
  const { url, signal, idleMs, onProgress } = options;
  const response = await openUrl(url, { signal, idleMs, headers: makeHeaders(draft, options) });
  try {
    const { statusCode: status } = response;
    if (status === 304) return "known";
    if (status === 416) {
      // Either all is there already, or the file has become shorter.
      if (readTotal(response) === draft.sizeBytes && isSameVersion(draft, response)) return "whole";
      await draft.restart({});
      return "again";
    }
    if (status === 206) {
      if (readStart(response) !== draft.sizeBytes || !isSameVersion(draft, response)) {
        await draft.restart({});
        return "again";
      }
      draft.isJoined = true;
    } else if (status === 200) await draft.restart(readVersion(response));
    else throw describeStatus(url, response);
    const totalBytes = status === 206 ? readTotal(response) : readLength(response);
    onProgress(draft.sizeBytes, totalBytes);
    for await (const chunk of response) {
      await draft.append(chunk as Buffer);
      onProgress(draft.sizeBytes, totalBytes);
    }
    if (totalBytes !== undefined && draft.sizeBytes !== totalBytes)
      throw new CutError(`the server sent ${draft.sizeBytes} of ${totalBytes} bytes`);
    return "whole";
  } finally {
    response.destroy();
  }
}

class CutError extends Error {}

function makeHeaders(draft: DownloadDraft, { known, checksum }: DownloadOptions): Record<string, string> {
  const headers: Record<string, string> = { "accept-encoding": "identity", "user-agent": "pulumi-kiln" };
  if (draft.sizeBytes > 0) {
    const condition = findRangeCondition(draft.version);
    // Without a name for the version only a checksum can tell whether the parts belong together.
    if (condition !== undefined || checksum)
      return {
        ...headers,
        range: `bytes=${draft.sizeBytes}-`,
        ...(condition === undefined ? {} : { "if-range": condition }),
      };
  }
  if (known?.etag !== undefined) headers["if-none-match"] = known.etag;
  else if (known?.lastModified !== undefined) headers["if-modified-since"] = known.lastModified;
  return headers;
}

/** A weak ETag only says that two files mean the same, not that their bytes are. */
function findRangeCondition({ etag, lastModified }: FileVersion): string | undefined {
  return etag !== undefined && !etag.startsWith("W/") ? etag : lastModified;
}

function isSameVersion(draft: DownloadDraft, response: IncomingMessage): boolean {
  const version = readVersion(response);
  const isOther = (mine?: string, theirs?: string): boolean =>
    mine !== undefined && theirs !== undefined && mine !== theirs;
  return (
    !isOther(draft.version.etag, version.etag) && !isOther(draft.version.lastModified, version.lastModified)
  );
}

function readVersion({ headers }: IncomingMessage): FileVersion {
  return {
    ...(headers.etag === undefined ? {} : { etag: headers.etag }),
    ...(headers["last-modified"] === undefined ? {} : { lastModified: headers["last-modified"] }),
  };
}

function readStart(response: IncomingMessage): number | undefined {
  const start = /^bytes (\d+)-/.exec(response.headers["content-range"] ?? "")?.[1];
  return start === undefined ? undefined : Number(start);
}

function readTotal(response: IncomingMessage): number | undefined {
  const total = /\/(\d+)$/.exec(response.headers["content-range"] ?? "")?.[1];
  return total === undefined ? undefined : Number(total);
}

function readLength(response: IncomingMessage): number | undefined {
  const length = response.headers["content-length"];
  return length === undefined ? undefined : Number(length);
}

const PASSING_CODES = new Set([
  "ECONNABORTED",
  "ECONNREFUSED",
  "ECONNRESET",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETDOWN",
  "ENETUNREACH",
  "EPIPE",
  "ETIMEDOUT",
]);

/** Faults of the network and of the server; not those of the disk, of the URL or of a certificate. */
function isPassing(error: unknown): boolean {
  if (error instanceof HttpStatusError) return error.isPassing;
  if (error instanceof CutError || error instanceof TimeoutError) return true;
  const { code, cause } = error as NodeJS.ErrnoException;
  return PASSING_CODES.has(code ?? (cause as NodeJS.ErrnoException | undefined)?.code ?? "");
}

async function requireChecksum(draft: DownloadDraft, { url, checksum }: DownloadOptions): Promise<void> {
  if (!checksum) return;
  const found = draft.digest(checksum.algorithm);
  if (found === checksum.digest) return;
  const { sizeBytes } = draft;
  await draft.remove();
  throw new ChecksumError(
    `its ${checksum.algorithm} is ${found} (${sizeBytes} bytes), expected ${checksum.digest}. Is the checksum of this file, and was the file replaced by a newer one?`,
    url,
  );
}

class ChecksumError extends Error {
  constructor(reason: string, url: string) {
    super(`Downloading ${hideSecrets(url)}: ${reason}`);
  }
}

function explainFailure(error: unknown, draft: DownloadDraft, url: string): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  if (error instanceof ChecksumError || error instanceof HttpStatusError) return error;
  const shown = hideSecrets(url);
  if (code === "ENOSPC" || code === "EDQUOT")
    return new Error(
      `Downloading ${shown} to ${draft.path}: the disk is full after ${draft.sizeBytes} bytes. Make room there, or set XDG_CACHE_HOME to a folder that has it; the download then goes on where it stopped.`,
      { cause: error },
    );
  if (message.startsWith("Fetching ")) return error as Error;
  return new Error(
    `Downloading ${shown}: ${message}, after ${draft.sizeBytes} bytes. The next run goes on from there.`,
    { cause: error },
  );
}
