/** Writes the image of a 1.44 MB floppy: FAT12 with long names. */
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { FatFolder, type FatEntry } from "./fat-folder";
import type { MediaFile } from "./media";
import { buildTree, listFolders, readContent, type TreeFile, type TreeFolder } from "./media-tree";

const SECTOR_BYTES = 512;
const SECTORS = 2880;
const TABLE_SECTORS = 9;
const ROOT_ENTRIES = 224;
const ENTRY_BYTES = 32;
const ROOT_SECTORS = (ROOT_ENTRIES * ENTRY_BYTES) / SECTOR_BYTES;
const FIRST_DATA_SECTOR = 1 + 2 * TABLE_SECTORS + ROOT_SECTORS;
const CLUSTERS = SECTORS - FIRST_DATA_SECTOR;
const FIRST_CLUSTER = 2;
const END_OF_CHAIN = 0xfff;

/** Writes the image to `path`. The same contents give the same bytes. What does not fit is an error that says the sizes. */
export async function writeFloppy(
  path: string,
  files: readonly MediaFile[],
  { label }: { label: string },
): Promise<void> {
  if (!/^[\x20-\x7e]{0,11}$/.test(label))
    throw new Error(`Making the floppy ${path}: the label "${label}" is not up to 11 ASCII characters.`);
  const root = await buildTree(files);
  requireRoom(path, root);
  await writeFile(path, await encodeImage(root, label), { mode: 0o600 });
}

async function encodeImage(root: TreeFolder, label: string): Promise<Buffer> {
  const image = Buffer.alloc(SECTORS * SECTOR_BYTES);
  encodeBootSector(label).copy(image);
  const clusters = new ClusterChain();
  const starts = new Map<TreeFolder | TreeFile, number>();
  const folders = listFolders(root);
  for (const folder of folders) {
    if (folder !== root) starts.set(folder, clusters.take(makeFolder(folder).sizeBytes));
    for (const file of folder.files) starts.set(file, clusters.take(file.sizeBytes));
  }
  for (const folder of folders) {
    const parent = folders.find((other) => other.folders.includes(folder));
    const isRoot = parent === undefined;
    const startOf = (node: TreeFolder | TreeFile): number => starts.get(node) ?? 0;
    const bytes = makeFolder(folder, startOf, parent && startOf(parent)).encode(isRoot ? label : undefined);
    bytes.copy(image, isRoot ? (1 + 2 * TABLE_SECTORS) * SECTOR_BYTES : offsetOf(startOf(folder)));
    for (const file of folder.files) {
      let at = offsetOf(startOf(file));
      for await (const chunk of readContent(file)) at += chunk.copy(image, at);
    }
  }
  for (const table of [0, 1]) clusters.encode().copy(image, (1 + table * TABLE_SECTORS) * SECTOR_BYTES);
  return image;
}

/** Without places it is made to be measured. */
function makeFolder(
  folder: TreeFolder,
  startOf: (node: TreeFolder | TreeFile) => number = () => 0,
  parentCluster?: number,
): FatFolder {
  const entries: FatEntry[] = [
    ...folder.folders.map((child) => ({ name: child.name, cluster: startOf(child), sizeBytes: undefined })),
    ...folder.files.map((file) => ({ name: file.name, cluster: startOf(file), sizeBytes: file.sizeBytes })),
  ];
  const isRoot = folder.name === "";
  return new FatFolder(entries, isRoot ? undefined : { self: startOf(folder), parent: parentCluster ?? 0 });
}

function requireRoom(path: string, root: TreeFolder): void {
  const folders = listFolders(root);
  const files = folders.flatMap((folder) => folder.files);
  const sizes = [
    ...files.map((file) => file.sizeBytes),
    ...folders.slice(1).map((folder) => makeFolder(folder).sizeBytes),
  ];
  const neededBytes = sizes.reduce((sum, size) => sum + Math.ceil(size / SECTOR_BYTES) * SECTOR_BYTES, 0);
  if (neededBytes > CLUSTERS * SECTOR_BYTES) {
    const largest = [...files].sort((a, b) => b.sizeBytes - a.sizeBytes).slice(0, 3);
    const shown = largest.map((file) => `${file.name} ${file.sizeBytes}`).join(", ");
    throw new Error(
      `Making the floppy ${path}: ${files.length} files need ${neededBytes} bytes, and a floppy has ${CLUSTERS * SECTOR_BYTES}. The largest: ${shown}. Use a CD.`,
    );
  }
  const rootEntries = makeFolder(root).sizeBytes / ENTRY_BYTES + 1;
  if (rootEntries > ROOT_ENTRIES)
    throw new Error(
      `Making the floppy ${path}: the names in its root take ${rootEntries} entries, and it has ${ROOT_ENTRIES}. Put files into folders, or use a CD.`,
    );
}

/** Gives out clusters one after the other, and remembers how they are chained. */
class ClusterChain {
  private readonly next: number[] = [0xff0, END_OF_CHAIN];

  /** The first one; 0 for nothing. */
  take(sizeBytes: number): number {
    const count = Math.ceil(sizeBytes / SECTOR_BYTES);
    if (count === 0) return 0;
    const first = this.next.length;
    for (let cluster = first; cluster < first + count - 1; cluster++) this.next.push(cluster + 1);
    this.next.push(END_OF_CHAIN);
    return first;
  }

  /** Two numbers of 12 bits in three bytes. */
  encode(): Buffer {
    const bytes = Buffer.alloc(TABLE_SECTORS * SECTOR_BYTES);
    this.next.forEach((value, cluster) => {
      const at = cluster + (cluster >> 1);
      const shift = (cluster & 1) * 4;
      bytes.writeUInt16LE(bytes.readUInt16LE(at) | (value << shift), at);
    });
    return bytes;
  }
}

function offsetOf(cluster: number): number {
  return (FIRST_DATA_SECTOR + cluster - FIRST_CLUSTER) * SECTOR_BYTES;
}

function encodeBootSector(label: string): Buffer {
  const bytes = Buffer.alloc(SECTOR_BYTES);
  bytes.write("\xeb\x3c\x90MSDOS5.0", "latin1");
  bytes.writeUInt16LE(SECTOR_BYTES, 11);
  bytes[13] = 1; // sectors in a cluster
  bytes.writeUInt16LE(1, 14); // sectors before the tables
  bytes[16] = 2; // tables
  bytes.writeUInt16LE(ROOT_ENTRIES, 17);
  bytes.writeUInt16LE(SECTORS, 19);
  bytes[21] = 0xf0; // a floppy
  bytes.writeUInt16LE(TABLE_SECTORS, 22);
  bytes.writeUInt16LE(18, 24); // sectors in a track
  bytes.writeUInt16LE(2, 26); // heads
  bytes[38] = 0x29; // the next three fields are there
  createHash("sha256").update(label).digest().copy(bytes, 39, 0, 4);
  bytes.write((label || "NO NAME").padEnd(11), 43, "latin1");
  bytes.write("FAT12   ", 54, "latin1");
  bytes.writeUInt16LE(0xaa55, 510);
  return bytes;
}
