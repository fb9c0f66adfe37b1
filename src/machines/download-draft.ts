/** A file that is being downloaded: what is there of it, of which version it is, and its hashes so far. */
import { createHash, type Hash } from "node:crypto";
import * as fs from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import * as path from "node:path";
import { readCacheFile, writeCacheFile } from "../core/cache-file";
import type { ChecksumAlgorithm } from "./checksum";

/** How a server names a version of a file. */
export interface FileVersion {
  etag?: string;
  lastModified?: string;
}

const CHUNK_BYTES = 1024 * 1024;

/**
 * Bytes are only ever put at their own place, and another version begins a new file: should two processes work on the
 * same draft all the same, they write the same.
 */
export class DownloadDraft {
  sizeBytes = 0;
  version: FileVersion = {};
  /** It comes from several answers, or from another run. */
  isJoined = false;
  private handle: FileHandle | undefined;
  private hashes = new Map<ChecksumAlgorithm, Hash>();

  constructor(
    readonly path: string,
    private readonly algorithms: readonly ChecksumAlgorithm[],
  ) {}

  /** Takes up what an earlier try, perhaps of another process, has left. */
  async resume(signal: AbortSignal): Promise<void> {
    const version = readCacheFile<FileVersion>(this.versionPath);
    if (version === undefined || !fs.existsSync(this.path)) return this.restart({});
    this.handle = await open(this.path, "r+");
    this.version = version;
    this.resetHashes();
    const stream = this.handle.createReadStream({
      start: 0,
      autoClose: false,
      highWaterMark: CHUNK_BYTES,
      signal,
    });
    for await (const chunk of stream) this.count(chunk as Buffer);
    this.isJoined = this.sizeBytes > 0;
  }

  /** Begins anew, with another version. */
  async restart(version: FileVersion): Promise<void> {
    await this.close();
    fs.rmSync(this.path, { force: true });
    fs.mkdirSync(path.dirname(this.path), { recursive: true, mode: 0o700 });
    this.handle = await open(this.path, "w", 0o600);
    writeCacheFile(this.versionPath, version);
    this.version = version;
    this.resetHashes();
  }

  async append(chunk: Buffer): Promise<void> {
    if (!this.handle) throw new Error("a draft is written before it was opened");
    for (let from = 0; from < chunk.length;) {
      const { bytesWritten } = await this.handle.write(
        chunk,
        from,
        chunk.length - from,
        this.sizeBytes + from,
      );
      from += bytesWritten;
    }
    this.count(chunk);
  }

  /** Of what is there now. */
  digest(algorithm: ChecksumAlgorithm): string {
    const hash = this.hashes.get(algorithm);
    if (!hash) throw new Error(`a draft is asked for ${algorithm}, which it does not count`);
    return hash.copy().digest("hex");
  }

  listDigests(): Map<ChecksumAlgorithm, string> {
    return new Map(this.algorithms.map((algorithm) => [algorithm, this.digest(algorithm)]));
  }

  /** Gives the file its final name, once its bytes are on the disk. */
  async finish(path: string): Promise<void> {
    await this.handle?.datasync();
    await this.close();
    fs.renameSync(this.path, path);
    fs.rmSync(this.versionPath, { force: true });
  }

  async remove(): Promise<void> {
    await this.close();
    fs.rmSync(this.path, { force: true });
    fs.rmSync(this.versionPath, { force: true });
  }

  async close(): Promise<void> {
    await this.handle?.close();
    this.handle = undefined;
  }

  private get versionPath(): string {
    return `${this.path}.json`;
  }

  private resetHashes(): void {
    this.sizeBytes = 0;
    this.isJoined = false;
    this.hashes = new Map(this.algorithms.map((algorithm) => [algorithm, createHash(algorithm)]));
  }

  private count(chunk: Buffer): void {
    for (const hash of this.hashes.values()) hash.update(chunk);
    this.sizeBytes += chunk.length;
  }
}
