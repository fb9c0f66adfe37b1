/** Writes a CD's image: ISO 9660 with the real names twice, by Rock Ridge for Unix and by Joliet for Windows. */
import { open, rm, type FileHandle } from "node:fs/promises";
import { isoNames, jolietNames, type NameScheme } from "./iso-names";
import { DATE_BYTES, SECTOR_BYTES, bothEndian, encodeRecord, padToSector, type Extent } from "./iso-record";
import { describeSelf, describeEntry, placeOverflow, type SystemUse } from "./iso-rock-ridge";
import type { MediaFile } from "./media";
import { buildTree, readContent, type TreeFile, type TreeFolder } from "./media-tree";

const FIRST_TABLE_SECTOR = 19;
const LARGEST_EXTENT_BYTES = 2 ** 32 - SECTOR_BYTES;

export interface IsoOptions {
  /** The volume's name: up to 32 ASCII characters, of which Windows shows 16. */
  label: string;
  /** For tests: a file longer than this is written in several extents. Default: 4 GiB. */
  largestExtentBytes?: number;
}

/** Writes the image to `path`. The same contents give the same bytes: times are fixed, and nobody owns a file. */
export async function writeIso(
  path: string,
  files: readonly MediaFile[],
  options: IsoOptions,
): Promise<void> {
  const { label, largestExtentBytes = LARGEST_EXTENT_BYTES } = options;
  if (!/^[\x20-\x7e]{1,32}$/.test(label))
    throw new Error(`Making the CD ${path}: the label "${label}" is not 1 to 32 ASCII characters.`);
  const root = await buildTree(files);
  const image = layOut(root, largestExtentBytes);
  const handle = await open(path, "w", 0o600); // a seed may hold secrets
  try {
    await writeAll(handle, encodeHead(image, label));
    for (const file of image.files) await writeFile(handle, file);
  } catch (error) {
    await rm(path, { force: true });
    throw new Error(`Making the CD ${path}: ${(error as Error).message}`, { cause: error });
  } finally {
    await handle.close();
  }
}

/** Where everything stands, in sectors. */
interface Image {
  hierarchies: [Hierarchy, Hierarchy];
  files: TreeFile[];
  sectors: number;
}

/** The same tree under the names of one scheme. */
interface Hierarchy {
  scheme: NameScheme;
  /** In the order of the path table. */
  folders: { folder: TreeFolder; id: Buffer; parent: number }[];
  tableSector: number;
  tableSectors: number;
  extents: Map<TreeFolder | TreeFile, Extent[]>;
}

function layOut(root: TreeFolder, largestExtentBytes: number): Image {
  const hierarchies: [Hierarchy, Hierarchy] = [orderFolders(root, isoNames), orderFolders(root, jolietNames)];
  let sector = FIRST_TABLE_SECTOR;
  for (const hierarchy of hierarchies) {
    hierarchy.tableSector = sector;
    hierarchy.tableSectors = Math.ceil(encodePathTable(hierarchy, "LE").length / SECTOR_BYTES);
    sector += 2 * hierarchy.tableSectors;
  }
  const files = hierarchies[0].folders.flatMap(({ folder }) => folder.files);
  // The length of a record does not depend on what it says, so the folders can be measured before anything has its place.
  const nowhere = [{ sector: 0, sizeBytes: 0 }];
  for (const hierarchy of hierarchies)
    for (const file of files)
      hierarchy.extents.set(file, splitExtents(0, file.sizeBytes, largestExtentBytes));
  for (const hierarchy of hierarchies) {
    for (const { folder } of hierarchy.folders) hierarchy.extents.set(folder, nowhere);
    for (const entry of hierarchy.folders) {
      const { records, overflow } = encodeFolder(hierarchy, entry);
      hierarchy.extents.set(entry.folder, [{ sector, sizeBytes: records.length }]);
      sector += (records.length + overflow.length) / SECTOR_BYTES;
    }
  }
  // An empty file stands on a sector too, of nobody's, since readers look whether its place is inside the image.
  const empty = sector++;
  for (const file of files) {
    const extents = splitExtents(file.sizeBytes === 0 ? empty : sector, file.sizeBytes, largestExtentBytes);
    for (const hierarchy of hierarchies) hierarchy.extents.set(file, extents);
    sector += Math.ceil(file.sizeBytes / SECTOR_BYTES);
  }
  return { hierarchies, files, sectors: sector };
}

/** Breadth first, and siblings by their identifiers: so the path table wants it. */
function orderFolders(root: TreeFolder, scheme: NameScheme): Hierarchy {
  const folders: Hierarchy["folders"] = [{ folder: root, id: Buffer.from([0]), parent: 1 }];
  for (let index = 0; index < folders.length; index++) {
    const { folder } = folders[index] ?? { folder: root };
    for (const entry of scheme.nameEntries(folder))
      if ("files" in entry.node) folders.push({ folder: entry.node, id: entry.id, parent: index + 1 });
  }
  return { scheme, folders, tableSector: 0, tableSectors: 0, extents: new Map() };
}

function splitExtents(sector: number, sizeBytes: number, largestBytes: number): Extent[] {
  const extents: Extent[] = [];
  for (let from = 0; from < sizeBytes || extents.length === 0; from += largestBytes)
    extents.push({
      sector: sector + from / SECTOR_BYTES,
      sizeBytes: Math.min(sizeBytes - from, largestBytes),
    });
  return extents;
}

function encodePathTable({ folders, extents }: Hierarchy, order: "LE" | "BE"): Buffer {
  const entries = folders.map(({ folder, id, parent }) => {
    const entry = Buffer.alloc(8 + id.length + (id.length % 2));
    entry[0] = id.length;
    const sector = extents.get(folder)?.[0]?.sector ?? 0;
    if (order === "LE") entry.writeUInt16LE(parent, entry.writeUInt32LE(sector, 2));
    else entry.writeUInt16BE(parent, entry.writeUInt32BE(sector, 2));
    id.copy(entry, 8);
    return entry;
  });
  return Buffer.concat(entries);
}

/** A folder's records, none of which crosses the end of a sector, and what did not fit into them. */
function encodeFolder(
  hierarchy: Hierarchy,
  { folder, parent }: Hierarchy["folders"][number],
): { records: Buffer; overflow: Buffer } {
  const [self] = hierarchy.extents.get(folder) ?? [];
  const parentFolder = hierarchy.folders[parent - 1]?.folder ?? folder;
  const [above] = hierarchy.extents.get(parentFolder) ?? [];
  if (!self || !above) throw new Error(`the folder "${folder.name}" has no place`);
  const withRockRidge = hierarchy.scheme === isoNames;
  const isRoot = parentFolder === folder;
  const items: { id: Buffer; extent: Extent; flags: number; systemUse: SystemUse }[] = [
    { id: Buffer.from([0]), extent: self, flags: 2, systemUse: describeSelf(folder, isRoot) },
    { id: Buffer.from([1]), extent: above, flags: 2, systemUse: describeSelf(parentFolder, false) },
  ];
  for (const { node, id } of hierarchy.scheme.nameEntries(folder)) {
    const extents = hierarchy.extents.get(node) ?? [];
    extents.forEach((extent, index) => {
      const more = index < extents.length - 1 ? 0x80 : 0;
      items.push({
        id,
        extent,
        flags: "files" in node ? 2 : more,
        systemUse: describeEntry(node, id.length),
      });
    });
  }
  const overflow = placeOverflow(
    items.map(({ systemUse }) => (withRockRidge ? systemUse.overflow : undefined)),
  );
  const encode = (overflowSector: number): Buffer =>
    packRecords(
      items.map(({ id, extent, flags, systemUse }, index) =>
        encodeRecord(
          id,
          extent,
          flags,
          withRockRidge ? systemUse.inline(overflow.links[index], overflowSector) : undefined,
        ),
      ),
    );
  const recordSectors = encode(0).length / SECTOR_BYTES;
  return { records: encode(self.sector + recordSectors), overflow: overflow.bytes };
}

function packRecords(records: readonly Buffer[]): Buffer {
  const pieces: Buffer[] = [];
  let used = 0;
  for (const record of records) {
    const left = SECTOR_BYTES - (used % SECTOR_BYTES);
    if (record.length > left) {
      pieces.push(Buffer.alloc(left));
      used += left;
    }
    pieces.push(record);
    used += record.length;
  }
  return padToSector(Buffer.concat(pieces));
}

/** All that comes before the contents of the files. */
function encodeHead(image: Image, label: string): Buffer {
  const [iso, joliet] = image.hierarchies;
  const end = Buffer.alloc(SECTOR_BYTES);
  end.write("\xffCD001\x01", "latin1");
  const pieces = [
    Buffer.alloc(16 * SECTOR_BYTES),
    encodeDescriptor(image, iso, label),
    encodeDescriptor(image, joliet, label),
    end,
  ];
  for (const hierarchy of image.hierarchies)
    for (const order of ["LE", "BE"] as const) pieces.push(padToSector(encodePathTable(hierarchy, order)));
  for (const hierarchy of image.hierarchies)
    for (const entry of hierarchy.folders) {
      const { records, overflow } = encodeFolder(hierarchy, entry);
      pieces.push(records, overflow);
    }
  return Buffer.concat([...pieces, Buffer.alloc(SECTOR_BYTES)]);
}

function encodeDescriptor(image: Image, hierarchy: Hierarchy, label: string): Buffer {
  const bytes = Buffer.alloc(SECTOR_BYTES);
  const { scheme } = hierarchy;
  bytes.write(`${String.fromCharCode(scheme.type)}CD001\x01`, "latin1");
  scheme.encodeText("", 32).copy(bytes, 8);
  scheme.encodeText(label, 32).copy(bytes, 40);
  bothEndian(image.sectors, 4).copy(bytes, 80);
  bytes.write(scheme.escapeSequence, 88, "latin1");
  bothEndian(1, 2).copy(bytes, 120);
  bothEndian(1, 2).copy(bytes, 124);
  bothEndian(SECTOR_BYTES, 2).copy(bytes, 128);
  bothEndian(encodePathTable(hierarchy, "LE").length, 4).copy(bytes, 132);
  bytes.writeUInt32LE(hierarchy.tableSector, 140);
  bytes.writeUInt32BE(hierarchy.tableSector + hierarchy.tableSectors, 148);
  const [root] = hierarchy.folders;
  const [extent] = (root && hierarchy.extents.get(root.folder)) ?? [];
  if (extent) encodeRecord(Buffer.from([0]), extent, 2).copy(bytes, 156);
  for (const at of [190, 318, 446, 574]) scheme.encodeText("", 128).copy(bytes, at);
  for (const at of [702, 739, 776]) scheme.encodeText("", 37).copy(bytes, at);
  for (const at of [813, 830]) bytes.write("1980010100000000", at, "latin1");
  for (const at of [847, 864]) bytes.write("0".repeat(DATE_BYTES - 1), at, "latin1");
  bytes[881] = 1;
  return bytes;
}

async function writeFile(handle: FileHandle, file: TreeFile): Promise<void> {
  for await (const chunk of readContent(file)) await writeAll(handle, chunk);
  const rest = file.sizeBytes % SECTOR_BYTES;
  if (rest > 0) await writeAll(handle, Buffer.alloc(SECTOR_BYTES - rest));
}

async function writeAll(handle: FileHandle, bytes: Buffer): Promise<void> {
  for (let from = 0; from < bytes.length;) from += (await handle.write(bytes, from)).bytesWritten;
}
