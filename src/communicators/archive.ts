/** Folders as one tar stream, in both directions: one call moves everything, whatever carries it. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import * as tar from "tar-stream";
import { listSource, type SourceEntry } from "../core/source-tree";

/** Files up to this size are read whole, and some of them ahead of their turn. */
const SMALL_FILE_BYTES = 1024 * 1024;
const READ_AHEAD_FILES = 16;

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
  return Readable.from(pack, { objectMode: false });
}

/** An archive of a local file or folder. What is read is compared with what the fingerprint was made of. */
export async function packSource(
  source: { path: string; ignore?: readonly string[] },
  cwd: string,
  target: ArchiveTarget,
  signal: AbortSignal,
): Promise<Readable> {
  const entries = await listSource(source, { cwd, signal });
  const pack = tar.pack();
  packFolders(pack, target);
  packEntries(pack, path.resolve(cwd, source.path), entries, target).then(
    () => pack.finalize(),
    (error: unknown) => pack.destroy(error as Error),
  );
  return Readable.from(pack, { objectMode: false });
}

function packFolders(pack: tar.Pack, target: ArchiveTarget): void {
  for (const folder of target.newFolders) {
    pack.entry({ name: `${folder}/`, type: "directory", mode: 0o755, mtime: new Date(), ...target.owner });
  }
}

async function packEntries(
  pack: tar.Pack,
  root: string,
  entries: readonly SourceEntry[],
  target: ArchiveTarget,
): Promise<void> {
  const ahead = new Map<SourceEntry, Promise<Buffer>>();
  let next = 0;
  for (const [index, entry] of entries.entries()) {
    for (; next < entries.length && next <= index + READ_AHEAD_FILES; next++) {
      const upcoming = entries[next];
      if (upcoming?.kind !== "file" || upcoming.sizeBytes > SMALL_FILE_BYTES) continue;
      const reading = fs.promises.readFile(path.join(root, upcoming.path));
      reading.catch(() => undefined); // reported when it is awaited, in its turn
      ahead.set(upcoming, reading);
    }
    const content = ahead.get(entry);
    ahead.delete(entry);
    await packEntry(pack, root, entry, target, await content);
  }
}

async function packEntry(
  pack: tar.Pack,
  root: string,
  entry: SourceEntry,
  target: ArchiveTarget,
  content: Buffer | undefined,
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
  if (content) {
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
  const stream = fs.createReadStream(file, { highWaterMark: SMALL_FILE_BYTES });
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

/** Unpacks what a folder of the machine holds, less the folder's own name; nothing lands outside of `target`. */
export async function unpackFolder(archive: Readable, target: string): Promise<void> {
  await unpack(archive, (name) => {
    const inside = name.split("/").slice(1).join("/").replace(/\/$/, "");
    return inside === "" ? undefined : path.join(target, requireInside(inside));
  });
}

/** Unpacks an archive of one file to exactly this path. */
export async function unpackFile(archive: Readable, file: string): Promise<void> {
  await unpack(archive, () => file);
}

async function unpack(archive: Readable, place: (name: string) => string | undefined): Promise<void> {
  const extract = tar.extract();
  archive.on("error", (error) => extract.destroy(error));
  archive.pipe(extract);
  for await (const entry of extract) {
    const { name, type, mode, linkname } = entry.header;
    const target = place(name);
    if (target === undefined) entry.resume();
    else if (type === "directory") {
      await fs.promises.mkdir(target, { recursive: true });
      entry.resume();
    } else if (type === "symlink") {
      await fs.promises.rm(target, { force: true });
      await fs.promises.symlink(linkname ?? "", target);
      entry.resume();
    } else {
      await fs.promises.mkdir(path.dirname(target), { recursive: true });
      await fs.promises.rm(target, { force: true }); // never write through a link that came before
      await pipeline(entry as unknown as Readable, fs.createWriteStream(target, { mode: mode ?? 0o644 }));
    }
  }
}

function requireInside(name: string): string {
  const normal = path.posix.normalize(name);
  if (normal.startsWith("../") || path.posix.isAbsolute(normal))
    throw new Error(`Unpacking a download: it holds the path "${name}", which leads outside`);
  return normal;
}
