/** Folders as one tar stream: one call sends everything, whatever carries it. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import * as tar from "tar-stream";
import type { SourceEntry } from "../core/source-tree";

/** Files up to this size are read whole. */
const SMALL_FILE_BYTES = 128 * 1024;
const CHUNK_BYTES = 512 * 1024;
/** A name that has become a pipe meanwhile must not block; Windows does not know the flag. */
const READ_FLAGS = fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0);

type EntryHeader = Partial<tar.Header> & Pick<tar.Header, "name">;

export interface ArchiveOwner {
  uid: number;
  gid: number;
}

export interface ArchiveTarget {
  /** Folders that the other side lacks, from the outermost, relative to where the archive is unpacked. */
  newFolders: readonly string[];
  /** Where the content goes, relative to where the archive is unpacked: a file's path, or a folder's ("" for itself). */
  path: string;
  owner: ArchiveOwner;
}

/** An archive of one file made here. */
export function packContent(content: Buffer, mode: number, target: ArchiveTarget): Readable {
  const pack = tar.pack();
  packFolders(pack, target);
  pack.entry({ name: target.path, mode, mtime: new Date(), ...target.owner }, content);
  pack.finalize();
  return Readable.from(joinChunks(pack as AsyncIterable<Uint8Array>), { objectMode: false });
}

/** An archive of what `listSource` found below `root`. What is read is compared with what it hashed. */
export function packEntries(entries: readonly SourceEntry[], root: string, target: ArchiveTarget): Readable {
  const pack = tar.pack();
  packFolders(pack, target);
  writeEntries(pack, root, entries, target).then(
    () => pack.finalize(),
    (error: unknown) => pack.destroy(error as Error),
  );
  return Readable.from(joinChunks(pack as AsyncIterable<Uint8Array>), { objectMode: false });
}

/** Headers and small files in large pieces: each piece is a call to the system. */
async function* joinChunks(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let waiting: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    waiting.push(chunk);
    sizeBytes += chunk.length;
    if (sizeBytes < CHUNK_BYTES) continue;
    yield Buffer.concat(waiting, sizeBytes);
    waiting = [];
    sizeBytes = 0;
  }
  if (sizeBytes > 0) yield Buffer.concat(waiting, sizeBytes);
}

function packFolders(pack: tar.Pack, target: ArchiveTarget): void {
  for (const folder of target.newFolders) {
    pack.entry({ name: `${folder}/`, type: "directory", mode: 0o755, mtime: new Date(), ...target.owner });
  }
}

async function writeEntries(
  pack: tar.Pack,
  root: string,
  entries: readonly SourceEntry[],
  target: ArchiveTarget,
): Promise<void> {
  for (const entry of entries) await writeOne(pack, root, entry, target);
}

async function writeOne(
  pack: tar.Pack,
  root: string,
  entry: SourceEntry,
  target: ArchiveTarget,
): Promise<void> {
  const name = [target.path, entry.path].filter((part) => part !== "").join("/");
  if (name === "") return; // a folder that is there already keeps its mode
  const header = { name, mode: entry.mode, mtime: new Date(entry.mtimeMs), ...target.owner };
  if (entry.kind === "directory") {
    if (target.newFolders.includes(name)) return;
    return writeEntry(pack, { ...header, name: `${name}/`, type: "directory" });
  }
  if (entry.kind === "symlink")
    return writeEntry(pack, { ...header, type: "symlink", linkname: entry.target ?? "" });
  if (entry.sizeBytes <= SMALL_FILE_BYTES) {
    // Of thousands of files a microsecond each is less than the thread pool's four turns.
    const content = fs.readFileSync(path.join(root, entry.path), { flag: READ_FLAGS as never });
    requireUnchanged(root, entry, createHash("sha256").update(content).digest("hex"));
    return writeEntry(pack, { ...header, size: content.length }, content);
  }
  await packLargeFile(pack, root, entry, header);
}

function writeEntry(pack: tar.Pack, header: EntryHeader, content?: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null): void => (error ? reject(error) : resolve());
    if (content) pack.entry(header, content, done);
    else pack.entry(header, done);
  });
}

/** Streamed: memory stays flat whatever the size. */
async function packLargeFile(
  pack: tar.Pack,
  root: string,
  entry: SourceEntry,
  header: EntryHeader,
): Promise<void> {
  const hash = createHash("sha256");
  const file = path.join(root, entry.path);
  const stream = fs.createReadStream(file, { highWaterMark: CHUNK_BYTES });
  let read = 0;
  const sink = pack.entry({ ...header, size: entry.sizeBytes });
  await pipeline(
    stream,
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        read += chunk.length;
        if (read > entry.sizeBytes) requireUnchanged(root, entry, "longer");
        hash.update(chunk);
        yield chunk;
      }
      requireUnchanged(root, entry, read < entry.sizeBytes ? "shorter" : hash.digest("hex"));
    },
    sink as unknown as NodeJS.WritableStream,
  );
}

function requireUnchanged(root: string, entry: SourceEntry, hash: string): void {
  if (hash === entry.hash) return;
  throw new Error(
    `Sending ${path.join(root, entry.path)}: it changed while it was read. Run again when nothing writes to it`,
  );
}
