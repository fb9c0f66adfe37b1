/** Reads floppy images, and refuses what is not right in them. */
import assert from "node:assert/strict";

export interface FatEntry {
  /** Undefined for a folder. */
  content: Buffer | undefined;
  /** What DOS sees, e.g. `PRESEED.CFG`. */
  shortName: string;
}

/** Label and entries by path. */
export function readFloppy(image: Buffer): { label: string | undefined; entries: Map<string, FatEntry> } {
  assert.equal(image.length, 1_474_560);
  assert.equal(image.readUInt16LE(510), 0xaa55);
  const [sector, reserved, tables, rootEntries, tableSectors] = [
    image.readUInt16LE(11),
    image.readUInt16LE(14),
    image[16] ?? 0,
    image.readUInt16LE(17),
    image.readUInt16LE(22),
  ];
  const table = image.subarray(reserved * sector, (reserved + tableSectors) * sector);
  const copy = image.subarray((reserved + tableSectors) * sector, (reserved + 2 * tableSectors) * sector);
  assert.ok(table.equals(copy), "both tables are the same");
  const rootStart = (reserved + tables * tableSectors) * sector;
  const dataStart = rootStart + rootEntries * 32;
  const used = new Set<number>();
  const next = (cluster: number): number => {
    const pair = table.readUInt16LE(Math.floor(cluster * 1.5));
    return cluster % 2 === 0 ? pair & 0xfff : pair >> 4;
  };
  const readChain = (first: number): Buffer => {
    const pieces: Buffer[] = [];
    for (let cluster = first; cluster !== 0 && cluster < 0xff8; cluster = next(cluster)) {
      assert.ok(!used.has(cluster) && cluster >= 2, `cluster ${cluster} belongs to one file`);
      used.add(cluster);
      pieces.push(image.subarray(dataStart + (cluster - 2) * sector, dataStart + (cluster - 1) * sector));
    }
    return Buffer.concat(pieces);
  };
  const entries = new Map<string, FatEntry>();
  let label: string | undefined;
  const readFolder = (bytes: Buffer, path: string, self: number, parent: number): void => {
    for (const { name, shortName, attribute, cluster, sizeBytes } of listRecords(bytes)) {
      if (attribute === 0x08) {
        label = shortName.replace(".", "");
        continue;
      }
      if (shortName === "." || shortName === "..") {
        assert.equal(cluster, shortName === "." ? self : parent);
        continue;
      }
      const whole = path === "" ? name : `${path}/${name}`;
      assert.ok(!entries.has(whole), `${whole} is there once`);
      const data = readChain(cluster);
      if (attribute === 0x10) {
        entries.set(whole, { content: undefined, shortName });
        readFolder(data, whole, cluster, self);
      } else {
        assert.equal(data.length, Math.ceil(sizeBytes / sector) * sector);
        entries.set(whole, { content: data.subarray(0, sizeBytes), shortName });
      }
    }
  };
  readFolder(image.subarray(rootStart, dataStart), "", 0, 0);
  const marked = Array.from({ length: 2847 }, (_, index) => index + 2).filter(
    (cluster) => next(cluster) !== 0,
  );
  assert.equal(marked.length, used.size, "no cluster is lost");
  return { label, entries };
}

interface FatRecord {
  name: string;
  shortName: string;
  attribute: number;
  cluster: number;
  sizeBytes: number;
}

function listRecords(bytes: Buffer): FatRecord[] {
  const records: FatRecord[] = [];
  const shortNames = new Set<string>();
  let long = "";
  let expected = 0;
  let checksum = 0;
  for (let at = 0; at < bytes.length && bytes[at] !== 0; at += 32) {
    const record = bytes.subarray(at, at + 32);
    const attribute = record[11] ?? 0;
    if (attribute === 0x0f) {
      const order = record[0] ?? 0;
      if (order & 0x40) [long, expected, checksum] = ["", order & 0x3f, record[13] ?? 0];
      assert.deepEqual([order & 0x3f, record[13]], [expected--, checksum]);
      const piece = Buffer.concat([record.subarray(1, 11), record.subarray(14, 26), record.subarray(28, 32)]);
      long = piece.toString("utf16le").replace(/\0.*$/s, "") + long;
      continue;
    }
    const raw = record.subarray(0, 11);
    if (long !== "") {
      assert.equal(expected, 0);
      const sum = raw.reduce((total, byte) => (((total >> 1) | ((total & 1) << 7)) + byte) & 0xff, 0);
      assert.equal(sum, checksum, `checksum of ${long}`);
    }
    const ending = raw.toString("latin1", 8).trimEnd();
    const shortName =
      raw.toString("latin1", 0, 8).trimEnd() + (ending === "" || attribute === 8 ? ending : `.${ending}`);
    assert.ok(!shortNames.has(shortName), `${shortName} is there once`);
    shortNames.add(shortName);
    records.push({
      name: long || shortName,
      shortName,
      attribute,
      cluster: record.readUInt16LE(26),
      sizeBytes: record.readUInt32LE(28),
    });
    long = "";
  }
  return records;
}
