/** Rock Ridge: what Unix wants to know of a file, in the part of its record that ISO 9660 leaves to the system. */
import { LONGEST_RECORD_BYTES, SECTOR_BYTES, bothEndian, padToSector, systemUseOffset } from "./iso-record";
import type { TreeFile, TreeFolder } from "./media-tree";

const FOLDER_MODE = 0o040555;
const FILE_MODE = 0o100444;
const EXECUTABLE_MODE = 0o100555;
const LINK_BYTES = 28;
const LONGEST_NAME_PART_BYTES = 250;
const CONTINUES = 1;

/** Where in a folder's overflow a record goes on. */
export interface OverflowLink {
  offset: number;
  sizeBytes: number;
}

/** The fields of one record. What is too long for it goes on elsewhere. */
export interface SystemUse {
  overflow: Buffer | undefined;
  inline(link: OverflowLink | undefined, overflowSector: number): Buffer;
}

/** Of a folder's first two records, "." and "..": the root's first one says that this is Rock Ridge. */
export function describeSelf(folder: TreeFolder, isRoot: boolean): SystemUse {
  const attributes = encodeAttributes(folder);
  const fields = isRoot ? Buffer.concat([encodeStart(), attributes, encodeExtension()]) : attributes;
  return { overflow: undefined, inline: () => fields };
}

/** Of a file or folder in its parent: attributes and its real name. */
export function describeEntry(node: TreeFile | TreeFolder, idBytes: number): SystemUse {
  const attributes = encodeAttributes(node);
  const name = encodeName(Buffer.from(node.name));
  const freeBytes = LONGEST_RECORD_BYTES - systemUseOffset(idBytes) - attributes.length;
  if (name.length <= freeBytes)
    return { overflow: undefined, inline: () => Buffer.concat([attributes, name]) };
  return {
    overflow: name,
    inline: (link, sector) =>
      Buffer.concat([attributes, encodeLink(link ?? { offset: 0, sizeBytes: 0 }, sector)]),
  };
}

/** Packs the overflows of a folder: none may cross the end of a sector. */
export function placeOverflow(overflows: readonly (Buffer | undefined)[]): {
  bytes: Buffer;
  links: (OverflowLink | undefined)[];
} {
  const pieces: Buffer[] = [];
  let used = 0;
  const links = overflows.map((overflow) => {
    if (overflow === undefined) return undefined;
    const left = SECTOR_BYTES - (used % SECTOR_BYTES);
    if (overflow.length > left) {
      pieces.push(Buffer.alloc(left));
      used += left;
    }
    const link = { offset: used, sizeBytes: overflow.length };
    pieces.push(overflow);
    used += overflow.length;
    return link;
  });
  return { bytes: used === 0 ? Buffer.alloc(0) : padToSector(Buffer.concat(pieces)), links };
}

function encodeField(signature: string, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from(signature, "latin1"), Buffer.from([4 + content.length, 1]), content]);
}

function encodeStart(): Buffer {
  return encodeField("SP", Buffer.from([0xbe, 0xef, 0]));
}

function encodeExtension(): Buffer {
  const id = Buffer.from("RRIP_1991A", "latin1");
  return encodeField("ER", Buffer.concat([Buffer.from([id.length, 0, 0, 1]), id]));
}

function encodeAttributes(node: TreeFile | TreeFolder): Buffer {
  const isFolder = "files" in node;
  const mode = isFolder ? FOLDER_MODE : node.isExecutable ? EXECUTABLE_MODE : FILE_MODE;
  const links = isFolder ? 2 + node.folders.length : 1;
  return encodeField("PX", Buffer.concat([mode, links, 0, 0].map((value) => bothEndian(value, 4))));
}

function encodeName(name: Buffer): Buffer {
  const fields: Buffer[] = [];
  for (let from = 0; from < name.length; from += LONGEST_NAME_PART_BYTES) {
    const part = name.subarray(from, from + LONGEST_NAME_PART_BYTES);
    const flags = from + part.length < name.length ? CONTINUES : 0;
    fields.push(encodeField("NM", Buffer.concat([Buffer.from([flags]), part])));
  }
  return Buffer.concat(fields);
}

function encodeLink({ offset, sizeBytes }: OverflowLink, firstSector: number): Buffer {
  const sector = firstSector + Math.floor(offset / SECTOR_BYTES);
  const fields = [sector, offset % SECTOR_BYTES, sizeBytes].map((value) => bothEndian(value, 4));
  const link = encodeField("CE", Buffer.concat(fields));
  if (link.length !== LINK_BYTES) throw new Error("a link of another length would move what was measured");
  return link;
}
