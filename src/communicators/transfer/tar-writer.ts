// A library's stream per entry costs as much as all the rest of the transfer of many small files; and it names what is
// not ASCII by records that small machines do not know. These headers are the ones that every `tar` reads.

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;
const OCTAL_SIZE_LIMIT = 8 ** 11;
const OCTAL_OWNER_LIMIT = 8 ** 7;

export interface TarHeader {
  name: string;
  kind: "file" | "directory" | "symlink";
  mode: number;
  mtimeMs: number;
  /** Of a file. */
  sizeBytes?: number;
  /** Of a symbolic link. */
  target?: string;
  /** Default: whoever unpacks it, or root where that is kept. */
  owner?: { uid: number; gid: number };
}

const TYPES = { file: "0", symlink: "2", directory: "5" };
/** What all headers share; the checksum counts its own field as spaces. */
const EMPTY_HEADER = Buffer.alloc(BLOCK_BYTES);
EMPTY_HEADER.write("0000000\x000000000", 108);
EMPTY_HEADER.write("        ", 148);
EMPTY_HEADER.write("ustar  ", 257);

/** How much `writeTarHeader` needs at most. */
export function tarHeaderBytes({ name, target = "" }: TarHeader): number {
  return BLOCK_BYTES + longNameBytes(name) + longNameBytes(target);
}

function longNameBytes(text: string): number {
  const bytes = text.length * 3 + 2; // at most, with the slash of a folder
  return bytes > NAME_BYTES ? 2 * BLOCK_BYTES + roundToBlock(bytes) : 0;
}

/** Writes the header of an entry, and returns where it ends; a file's content follows, up to a whole block. */
export function writeTarHeader(chunk: Buffer, at: number, header: TarHeader): number {
  const name = header.kind === "directory" ? `${header.name}/` : header.name;
  const target = header.target ?? "";
  let end = at;
  if (Buffer.byteLength(target) > NAME_BYTES) end = writeLongName(chunk, end, "K", target);
  if (Buffer.byteLength(name) > NAME_BYTES) end = writeLongName(chunk, end, "L", name);
  return writeBlock(chunk, end, header, name, target, TYPES[header.kind]);
}

/** The header as a piece of its own. */
export function formatTarHeader(header: TarHeader): Buffer {
  const chunk = Buffer.allocUnsafe(tarHeaderBytes(header));
  return chunk.subarray(0, writeTarHeader(chunk, 0, header));
}

export function roundToBlock(sizeBytes: number): number {
  return Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
}

/** What fills the last block of a content. */
export function padTar(sizeBytes: number): Buffer {
  return Buffer.alloc(roundToBlock(sizeBytes) - sizeBytes);
}

/** What ends an archive. */
export const TAR_END = Buffer.alloc(2 * BLOCK_BYTES);

function writeLongName(chunk: Buffer, at: number, type: string, text: string): number {
  const length = Buffer.byteLength(text) + 1;
  const header = { mode: 0o644, sizeBytes: length, mtimeMs: 0 };
  const begin = writeBlock(chunk, at, header, "././@LongLink", "", type);
  const end = begin + roundToBlock(length);
  chunk.fill(0, begin, end);
  chunk.write(text, begin);
  return end;
}

function writeBlock(
  chunk: Buffer,
  at: number,
  header: Pick<TarHeader, "mode" | "mtimeMs" | "sizeBytes" | "owner">,
  name: string,
  target: string,
  type: string,
): number {
  const { mode, sizeBytes = 0, mtimeMs, owner } = header;
  chunk.set(EMPTY_HEADER, at);
  const nameEnd = at + chunk.write(name, at, NAME_BYTES); // what is longer stands before this block
  writeOctal(chunk, at + 100, mode, 7);
  if (owner) {
    writeOwner(chunk, at + 108, owner.uid);
    writeOwner(chunk, at + 116, owner.gid);
  }
  if (sizeBytes < OCTAL_SIZE_LIMIT) writeOctal(chunk, at + 124, sizeBytes, 11);
  else {
    chunk[at + 124] = 0x80;
    chunk.writeBigUInt64BE(BigInt(sizeBytes), at + 128);
  }
  writeOctal(chunk, at + 136, Math.max(0, Math.floor(mtimeMs / 1000)), 11);
  chunk[at + 156] = type.charCodeAt(0);
  const targetEnd = at + 157 + chunk.write(target, at + 157, NAME_BYTES);
  // Everything else is 0, and adds nothing.
  const sum =
    sumBytes(chunk, at, nameEnd) + sumBytes(chunk, at + 100, targetEnd) + sumBytes(chunk, at + 257, at + 265);
  writeOctal(chunk, at + 148, sum, 6);
  chunk[at + 154] = 0;
  return at + BLOCK_BYTES;
}

function writeOwner(chunk: Buffer, at: number, id: number): void {
  if (id < OCTAL_OWNER_LIMIT) return writeOctal(chunk, at, id, 7);
  chunk.fill(0, at, at + 8);
  chunk[at] = 0x80;
  chunk.writeUInt32BE(id, at + 4);
}

function sumBytes(chunk: Buffer, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at++) sum += chunk[at] as number;
  return sum;
}

/** As text, over zeros. */
function writeOctal(chunk: Buffer, at: number, value: number, digits: number): void {
  for (let place = at + digits - 1; place >= at; place--) {
    chunk[place] = 0x30 + (value % 8);
    value = Math.floor(value / 8);
  }
}
