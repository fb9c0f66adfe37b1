import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { sha256Hex } from "../../core/content-hash";
import { ChangedFileError } from "./changed-file";
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
/** Files up to this size are read whole, right into the piece that is sent. */
export const SMALL_FILE_BYTES = 128 * 1024;
/** A name that has become a pipe meanwhile must not block; Windows does not know the flag. */
const READ_FLAGS = fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0);

/** An entry of an archive. A file's content is text made here, or read from a file when its turn comes. */
export interface TarItem extends TarHeader {
  content?: Buffer;
  file?: string;
  /** Where in the file the content begins; `sizeBytes` counts from there. */
  fromByte?: number;
  /** Gets the SHA-256 in hex of what was read; what it throws ends the archive. */
  onHash?: (hash: string) => void;
}

/** A tar archive in pieces, one of which is in memory at a time: it is overwritten when the next is asked for. */
export async function* streamTar(items: Iterable<TarItem>): AsyncGenerator<Buffer> {
  const chunk = new Chunk();
  for (const item of items) {
    const { content, file, sizeBytes = 0 } = item;
    if (file !== undefined && sizeBytes > SMALL_FILE_BYTES) {
      if (chunk.sizeBytes > 0) yield chunk.take();
      yield* streamFile(item, file, sizeBytes);
      continue;
    }
    if (file !== undefined) chunk.addFile(item, file, sizeBytes);
    else if (content) chunk.addContent(item, content);
    else chunk.addHeader(item, 0);
    if (chunk.sizeBytes >= CHUNK_BYTES) yield chunk.take();
  }
  chunk.add(TAR_END);
  yield chunk.take();
}

/** How long the archive of these is; nothing is read for it. */
export function measureTar(items: Iterable<TarItem>): number {
  let sizeBytes = TAR_END.length;
  for (const item of items) sizeBytes += formatTarHeader(item).length + roundToBlock(item.sizeBytes ?? 0);
  return sizeBytes;
}

/** Collects small entries. */
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
  addFile(item: TarItem, path: string, sizeBytes: number): void {
    const { fromByte = 0, onHash } = item;
    this.addHeader(item, roundToBlock(sizeBytes) + 1);
    const file = fs.openSync(path, READ_FLAGS);
    try {
      const read = readUpTo(file, this.buffer, this.sizeBytes, sizeBytes, fromByte);
      if (read !== sizeBytes) throw new ChangedFileError(path);
    } finally {
      fs.closeSync(file);
    }
    onHash?.(sha256Hex(this.buffer.subarray(this.sizeBytes, this.sizeBytes + sizeBytes)));
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

/** Reads `length` bytes of a file, and one byte more if it has grown. */
function readUpTo(file: number, buffer: Buffer, at: number, length: number, fromByte: number): number {
  let read = 0;
  do {
    const position = fromByte === 0 ? null : fromByte + read;
    const count = fs.readSync(file, buffer, at + read, length + 1 - read, position);
    if (count === 0) break;
    read += count;
  } while (read < length);
  return read;
}

/** Memory stays flat, whatever the size: while one piece is on its way, the next is read. */
async function* streamFile(item: TarItem, path: string, sizeBytes: number): AsyncGenerator<Buffer> {
  const { fromByte = 0, onHash } = item;
  const hash = onHash && createHash("sha256");
  const file = await open(path, READ_FLAGS);
  try {
    const buffers = [Buffer.allocUnsafe(CHUNK_BYTES), Buffer.allocUnsafe(CHUNK_BYTES)] as const;
    const end = fromByte + sizeBytes;
    const readAt = (turn: number): Promise<Buffer> => {
      const piece = readPiece(file, buffers[turn % 2] as Buffer, fromByte + turn * CHUNK_BYTES, end);
      piece.catch(() => undefined); // it is awaited below, unless nobody wants more
      return piece;
    };
    const last = Math.ceil(sizeBytes / CHUNK_BYTES) - 1;
    let next = readAt(0);
    yield formatTarHeader(item);
    for (let turn = 0; turn <= last; turn++) {
      const piece = await next;
      if (piece.length !== Math.min(CHUNK_BYTES, sizeBytes - turn * CHUNK_BYTES))
        throw new ChangedFileError(path);
      if (turn < last) next = readAt(turn + 1);
      hash?.update(piece);
      yield piece;
    }
    const { size } = await file.stat();
    if (size !== fromByte + sizeBytes) throw new ChangedFileError(path);
  } finally {
    await file.close();
  }
  if (hash) onHash(hash.digest("hex"));
  yield padTar(sizeBytes);
}

async function readPiece(file: FileHandle, buffer: Buffer, from: number, end: number): Promise<Buffer> {
  const length = Math.min(buffer.length, end - from);
  let read = 0;
  while (read < length) {
    const { bytesRead } = await file.read(buffer, read, length - read, from + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return buffer.subarray(0, read);
}
