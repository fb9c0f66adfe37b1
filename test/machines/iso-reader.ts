/** Reads CD images by the letter of ECMA-119, Rock Ridge and Joliet, and refuses what is not right in them. */
import assert from "node:assert/strict";

export interface IsoEntry {
  /** Undefined for a folder. */
  content: Buffer | undefined;
  /** Of Rock Ridge. */
  mode: number | undefined;
}

export interface IsoVolume {
  label: string;
  /** By path: of Rock Ridge if it is there, else as ISO 9660 or Joliet has it. */
  entries: Map<string, IsoEntry>;
  /** ISO 9660's own identifiers. */
  identifiers: string[];
}

const SECTOR = 2048;

/** Both trees of an image. */
export function readIso(image: Buffer): { primary: IsoVolume; joliet: IsoVolume } {
  assert.equal(image.length % SECTOR, 0);
  const descriptors = [16, 17, 18].map((sector) => image.subarray(sector * SECTOR, (sector + 1) * SECTOR));
  assert.deepEqual(
    descriptors.map((bytes) => bytes[0]),
    [1, 2, 255],
  );
  for (const bytes of descriptors) assert.equal(bytes.toString("latin1", 1, 7), "CD001\x01");
  const [primary, joliet] = descriptors as [Buffer, Buffer];
  assert.equal(joliet.toString("latin1", 88, 91), "%/E");
  return { primary: readVolume(image, primary, false), joliet: readVolume(image, joliet, true) };
}

function readVolume(image: Buffer, descriptor: Buffer, isWide: boolean): IsoVolume {
  assert.equal(readBoth(descriptor, 80, 4), image.length / SECTOR, "volume size");
  const text = (bytes: Buffer): string => (isWide ? decodeWide(bytes) : bytes.toString("latin1"));
  const volume: IsoVolume = {
    label: text(descriptor.subarray(40, 72)).trimEnd(),
    entries: new Map(),
    identifiers: [],
  };
  const folders: { sector: number; parent: number; id: string }[] = [];
  const queue = [
    {
      sector: readBoth(descriptor, 158, 4),
      sizeBytes: readBoth(descriptor, 166, 4),
      path: "",
      id: "\0",
      number: 1,
    },
  ];
  // The path table has the folders level by level; so does a walk by a queue.
  for (let folder = queue.shift(); folder; folder = queue.shift()) {
    const parent = folder.number;
    folders.push({ sector: folder.sector, parent, id: folder.id });
    const own = folders.length;
    let more: Buffer[] = [];
    let previous = "";
    for (const [index, record] of readRecords(image, folder.sector, folder.sizeBytes).entries()) {
      const extent = { sector: readBoth(record, 2, 4), sizeBytes: readBoth(record, 10, 4) };
      const id = record.subarray(33, 33 + (record[32] ?? 0));
      if (index === 0) assert.deepEqual([id[0], extent.sector], [0, folder.sector]);
      if (index < 2) {
        assert.equal(id.length, 1);
        continue;
      }
      assert.ok(Buffer.compare(Buffer.from(previous, "latin1"), id) <= 0, "records are sorted");
      previous = id.toString("latin1");
      const fields = isWide ? new Map<string, Buffer[]>() : readFields(image, record, id.length);
      const name = readName(fields) ?? text(id).replace(/\.?;1$/, "");
      const path: string = folder.path === "" ? name : `${folder.path}/${name}`;
      const mode = fields.get("PX")?.[0] && readBoth(fields.get("PX")?.[0] as Buffer, 0, 4);
      const isFolder = ((record[25] ?? 0) & 2) !== 0;
      if (isFolder) queue.push({ ...extent, path, id: text(id), number: own });
      const data = image.subarray(extent.sector * SECTOR, extent.sector * SECTOR + extent.sizeBytes);
      assert.equal(data.length, extent.sizeBytes, `${path} lies in the image`);
      more.push(data);
      if (((record[25] ?? 0) & 0x80) !== 0) continue;
      assert.ok(!volume.entries.has(path), `${path} is there once`);
      volume.entries.set(path, { content: isFolder ? undefined : Buffer.concat(more), mode });
      volume.identifiers.push(text(id));
      more = [];
    }
  }
  checkPathTables(image, descriptor, folders, text);
  return volume;
}

function readRecords(image: Buffer, sector: number, sizeBytes: number): Buffer[] {
  assert.equal(sizeBytes % SECTOR, 0);
  const records: Buffer[] = [];
  for (let at = 0; at < sizeBytes;) {
    const length = image[sector * SECTOR + at] ?? 0;
    if (length === 0) {
      at = (Math.floor(at / SECTOR) + 1) * SECTOR;
      continue;
    }
    assert.ok((at % SECTOR) + length <= SECTOR, "no record crosses a sector's end");
    records.push(image.subarray(sector * SECTOR + at, sector * SECTOR + at + length));
    at += length;
  }
  return records;
}

/** The system use fields by their signature, those of continuations too. */
function readFields(image: Buffer, record: Buffer, idLength: number): Map<string, Buffer[]> {
  const fields = new Map<string, Buffer[]>();
  let area = record.subarray(33 + idLength + (idLength % 2 === 0 ? 1 : 0));
  for (let at = 0; at + 4 <= area.length && area[at] !== 0;) {
    const signature = area.toString("latin1", at, at + 2);
    const length = area[at + 2] ?? 0;
    assert.ok(length >= 4 && at + length <= area.length, "a field ends in its area");
    const content = area.subarray(at + 4, at + length);
    at += length;
    fields.set(signature, [...(fields.get(signature) ?? []), content]);
    if (signature === "CE") {
      const [sector, offset, sizeBytes] = [0, 8, 16].map((place) => readBoth(content, place, 4)) as [
        number,
        number,
        number,
      ];
      assert.ok(offset + sizeBytes <= SECTOR, "no continuation crosses a sector's end");
      area = image.subarray(sector * SECTOR + offset, sector * SECTOR + offset + sizeBytes);
      at = 0;
    }
  }
  return fields;
}

function readName(fields: Map<string, Buffer[]>): string | undefined {
  const parts = fields.get("NM");
  if (!parts) return undefined;
  assert.deepEqual(
    parts.map((part) => part[0]),
    parts.map((_, index) => (index < parts.length - 1 ? 1 : 0)),
  );
  return Buffer.concat(parts.map((part) => part.subarray(1))).toString("utf8");
}

function checkPathTables(
  image: Buffer,
  descriptor: Buffer,
  folders: readonly { sector: number; parent: number; id: string }[],
  text: (bytes: Buffer) => string,
): void {
  const sizeBytes = readBoth(descriptor, 132, 4);
  const starts = [descriptor.readUInt32LE(140), descriptor.readUInt32BE(148)];
  for (const [order, start] of starts.entries()) {
    const table = image.subarray(start * SECTOR, start * SECTOR + sizeBytes);
    const found: { sector: number; parent: number; id: string }[] = [];
    for (let at = 0; at < table.length;) {
      const length = table[at] ?? 0;
      const sector = order === 0 ? table.readUInt32LE(at + 2) : table.readUInt32BE(at + 2);
      const parent = order === 0 ? table.readUInt16LE(at + 6) : table.readUInt16BE(at + 6);
      const id = table.subarray(at + 8, at + 8 + length);
      found.push({ sector, parent, id: id[0] === 0 && length === 1 ? "\0" : text(id) });
      at += 8 + length + (length % 2);
    }
    assert.deepEqual(found, folders);
  }
}

/** A number that is there twice, and must be the same. */
function readBoth(bytes: Buffer, at: number, sizeBytes: number): number {
  const little = bytes.readUIntLE(at, sizeBytes);
  assert.equal(bytes.readUIntBE(at + sizeBytes, sizeBytes), little);
  return little;
}

function decodeWide(bytes: Buffer): string {
  return Buffer.from(bytes).swap16().toString("utf16le");
}
