/** A folder of a FAT file system: each entry under a short name, and before it the long one in pieces. */
import { compareNames } from "./media-tree";

const ENTRY_BYTES = 32;
const CHARACTERS_PER_PIECE = 13;
const LAST_PIECE = 0x40;
const LONG_NAME = 0x0f;
const VOLUME_LABEL = 0x08;
const FOLDER = 0x10;
const FILE = 0x20;
// 1 January 1980, where this format's time begins.
const DATE = 0x21;
/** Where a piece's characters stand in it. */
const CHARACTER_OFFSETS = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

export interface FatEntry {
  name: string;
  cluster: number;
  /** Undefined for a folder. */
  sizeBytes: number | undefined;
}

export class FatFolder {
  private readonly records: Buffer[];

  /** `places`: the clusters of the folder itself and of the one it is in; the root has none. */
  constructor(entries: readonly FatEntry[], places?: { self: number; parent: number }) {
    const taken = new Set<string>();
    requireDistinct(entries);
    const sorted = [...entries].sort((a, b) => compareNames(a.name, b.name));
    this.records = [
      ...(places ? [encodeEntry(".", FOLDER, places.self), encodeEntry("..", FOLDER, places.parent)] : []),
      ...sorted.flatMap((entry) => encodeNamed(entry, taken)),
    ];
  }

  /** Without a label. */
  get sizeBytes(): number {
    return this.records.length * ENTRY_BYTES;
  }

  /** With the volume's label in front, if there is one. */
  encode(label?: string): Buffer {
    const first = label ? [encodeEntry(label, VOLUME_LABEL, 0)] : [];
    return Buffer.concat([...first, ...this.records]);
  }
}

/** To every reader of this format "a" and "A" are the same. */
function requireDistinct(entries: readonly FatEntry[]): void {
  const known = new Map<string, string>();
  for (const { name } of entries) {
    const other = known.get(name.toUpperCase());
    if (other !== undefined)
      throw new Error(
        `Putting "${name}" on a floppy: it has "${other}" already, and case makes no difference there.`,
      );
    known.set(name.toUpperCase(), name);
  }
}

function encodeNamed({ name, cluster, sizeBytes }: FatEntry, taken: Set<string>): Buffer[] {
  const problem = /["*:<>?|\\\p{Cc}]|[. ]$/u.exec(name);
  if (problem)
    throw new Error(
      `Putting "${name}" on a floppy: its name cannot have ${JSON.stringify(problem[0])} there.`,
    );
  const short = shortenName(name, taken);
  taken.add(short);
  const attribute = sizeBytes === undefined ? FOLDER : FILE;
  const entry = encodeEntry(short, attribute, cluster, sizeBytes);
  return short === padShort(name) ? [entry] : [...encodeLongName(name, entry), entry];
}

/** Eleven characters: what DOS sees. A name that fits but for its case keeps its form. */
function shortenName(name: string, taken: ReadonlySet<string>): string {
  const upper = name.toUpperCase();
  const isShort = /^[A-Z0-9!#$%&'()@^_`{}~-]{1,8}(\.[A-Z0-9!#$%&'()@^_`{}~-]{1,3})?$/.test(upper);
  if (isShort && !taken.has(padShort(upper))) return padShort(upper);
  const clean = (text: string): string =>
    text.replace(/[ .]/g, "").replace(/[^A-Z0-9!#$%&'()@^_`{}~-]/gu, "_");
  const dot = upper.lastIndexOf(".");
  const stem = clean(dot > 0 ? upper.slice(0, dot) : upper);
  const ending = dot > 0 ? clean(upper.slice(dot + 1)).slice(0, 3) : "";
  for (let number = 1; ; number++) {
    const tail = `~${number}`;
    const short = `${stem.slice(0, 8 - tail.length)}${tail}`.padEnd(8) + ending.padEnd(3);
    if (!taken.has(short)) return short;
  }
}

function padShort(name: string): string {
  const [stem = "", ending = ""] = name.split(".");
  return stem.padEnd(8) + ending.padEnd(3);
}

function encodeEntry(short: string, attribute: number, cluster: number, sizeBytes = 0): Buffer {
  const bytes = Buffer.alloc(ENTRY_BYTES);
  bytes.write(short.padEnd(11), "latin1");
  bytes[11] = attribute;
  for (const at of [16, 18, 24]) bytes.writeUInt16LE(DATE, at);
  bytes.writeUInt16LE(cluster, 26);
  bytes.writeUInt32LE(sizeBytes, 28);
  return bytes;
}

/** The pieces stand in front of the entry, the last one first, each with a checksum of the short name. */
function encodeLongName(name: string, entry: Buffer): Buffer[] {
  const checksum = entry
    .subarray(0, 11)
    .reduce((sum, byte) => (((sum & 1) << 7) + (sum >> 1) + byte) & 0xff, 0);
  const count = Math.ceil(name.length / CHARACTERS_PER_PIECE);
  const pieces = Array.from({ length: count }, (_, index) => {
    const bytes = Buffer.alloc(ENTRY_BYTES);
    bytes[0] = index + 1 + (index === count - 1 ? LAST_PIECE : 0);
    bytes[11] = LONG_NAME;
    bytes[13] = checksum;
    CHARACTER_OFFSETS.forEach((at, place) => {
      const character = index * CHARACTERS_PER_PIECE + place;
      // After the end comes a zero, then nothing but ones.
      const code =
        character < name.length ? name.charCodeAt(character) : character === name.length ? 0 : 0xffff;
      bytes.writeUInt16LE(code, at);
    });
    return bytes;
  });
  return pieces.reverse();
}
