import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { open } from "node:fs/promises";
import { sha256Hex } from "../../core/content-hash";
import { ChangedFileError, stagedMode, type PlannedEntry } from "./plan";
import {
  formatTarHeader,
  padTar,
  roundToBlock,
  TAR_END,
  tarHeaderBytes,
  writeTarHeader,
  type TarHeader,
} from "./tar-writer";

const CHUNK_BYTES = 256 * 1024;
/** Files up to this size are read whole. */
const SMALL_FILE_BYTES = 128 * 1024;
/** A name that has become a pipe meanwhile must not block; Windows does not know the flag. */
const READ_FLAGS = fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0);

/** What an archive holds, in order; a text that is known only when its turn comes is a function. */
export type ArchiveItem =
  | { text: string | (() => string); name: string }
  | { entry: PlannedEntry }
  | { entry: PlannedEntry; name: string; fromByte: number };

/**
 * A tar archive in pieces, one of which is in memory at a time: it is overwritten when the next is asked for. Hashes of files
 * that are still open are noted on the way.
 */
export async function* streamArchive(items: Iterable<ArchiveItem>): AsyncGenerator<Buffer> {
  const chunk = new Chunk();
  for (const item of items) {
    if ("entry" in item && isStreamed(item.entry)) {
      if (chunk.sizeBytes > 0) yield chunk.take();
      yield* "name" in item
        ? streamFile(item.entry, item.name, 0o600, item.fromByte)
        : streamFile(item.entry, item.entry.staged, stagedMode(item.entry), 0);
      continue;
    }
    addItem(chunk, item);
    if (chunk.sizeBytes >= CHUNK_BYTES) yield chunk.take();
  }
  chunk.add(TAR_END);
  yield chunk.take();
}

function isStreamed({ kind, content, sizeBytes }: PlannedEntry): boolean {
  return kind === "file" && content === undefined && sizeBytes > SMALL_FILE_BYTES;
}

function addItem(chunk: Chunk, item: ArchiveItem): void {
  if ("text" in item) {
    const text = Buffer.from(typeof item.text === "string" ? item.text : item.text());
    return chunk.addContent(
      { name: item.name, kind: "file", mode: 0o600, mtimeMs: Date.now(), sizeBytes: text.length },
      text,
    );
  }
  const { entry } = item;
  const { kind, mtimeMs, target, staged, sizeBytes } = entry;
  const header = {
    name: staged,
    kind,
    mode: stagedMode(entry),
    mtimeMs,
    target,
    sizeBytes: kind === "file" ? sizeBytes : 0,
  };
  if (kind !== "file") chunk.addHeader(header, 0);
  else if (entry.content) chunk.addContent(header, entry.content);
  else chunk.addFile(header, entry);
}

/** Collects small entries: everything is written, and files are read, right into the piece that is sent. */
class Chunk {
  sizeBytes = 0;
  private buffer = Buffer.alloc(0);

  add(bytes: Buffer): void {
    this.reserve(bytes.length);
    this.sizeBytes += bytes.copy(this.buffer, this.sizeBytes);
  }

  addHeader(header: TarHeader, more: number): void {
    this.reserve(tarHeaderBytes(header) + more);
    this.sizeBytes = writeTarHeader(this.buffer, this.sizeBytes, header);
  }

  addContent(header: TarHeader, content: Buffer): void {
    this.addHeader(header, roundToBlock(content.length));
    content.copy(this.buffer, this.sizeBytes);
    this.finish(content.length);
  }

  // Of thousands of files a microsecond each is less than the thread pool's turns.
  addFile(header: TarHeader, entry: PlannedEntry): void {
    const { sizeBytes } = entry;
    this.addHeader(header, roundToBlock(sizeBytes) + 1);
    const file = fs.openSync(entry.file as string, READ_FLAGS);
    try {
      const read = readUpTo(file, this.buffer, this.sizeBytes, sizeBytes);
      if (read !== sizeBytes) throw new ChangedFileError(entry.file ?? entry.name);
    } finally {
      fs.closeSync(file);
    }
    if (entry.hash === "") {
      const content = this.buffer.subarray(this.sizeBytes, this.sizeBytes + sizeBytes);
      entry.hash = sha256Hex(content);
    }
    this.finish(sizeBytes);
  }

  take(): Buffer {
    const chunk = this.buffer.subarray(0, this.sizeBytes);
    this.sizeBytes = 0;
    return chunk;
  }

  private finish(contentBytes: number): void {
    const end = this.sizeBytes + roundToBlock(contentBytes);
    this.buffer.fill(0, this.sizeBytes + contentBytes, end);
    this.sizeBytes = end;
  }

  private reserve(bytes: number): void {
    if (this.sizeBytes + bytes <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(
      Math.max(this.sizeBytes + bytes, CHUNK_BYTES + SMALL_FILE_BYTES + 4096),
    );
    this.buffer.copy(larger, 0, 0, this.sizeBytes);
    this.buffer = larger;
  }
}

/** Reads a file of `length` bytes, and one byte more if it has grown. */
function readUpTo(file: number, buffer: Buffer, at: number, length: number): number {
  let read = 0;
  do {
    const count = fs.readSync(file, buffer, at + read, length + 1 - read, null);
    if (count === 0) break;
    read += count;
  } while (read < length);
  return read;
}

async function* streamFile(
  entry: PlannedEntry,
  name: string,
  mode: number,
  fromByte: number,
): AsyncGenerator<Buffer> {
  const sizeBytes = entry.sizeBytes - fromByte;
  yield formatTarHeader({ name, kind: "file", mode, mtimeMs: entry.mtimeMs, sizeBytes });
  const hash = entry.hash === "" && fromByte === 0 ? createHash("sha256") : undefined;
  const file = await open(entry.file as string, READ_FLAGS);
  try {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, sizeBytes));
    for (let at = fromByte; at < entry.sizeBytes;) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, entry.sizeBytes - at), at);
      if (bytesRead === 0) throw new ChangedFileError(entry.file ?? entry.name);
      at += bytesRead;
      const piece = buffer.subarray(0, bytesRead);
      hash?.update(piece);
      yield piece;
    }
    if (hash) {
      // Nobody else has read it: was it one and the same all the while?
      const { size, mtimeMs } = await file.stat();
      if (size !== entry.sizeBytes || mtimeMs !== entry.mtimeMs)
        throw new ChangedFileError(entry.file ?? entry.name);
      entry.hash = hash.digest("hex");
    }
  } finally {
    await file.close();
  }
  yield padTar(sizeBytes);
}
