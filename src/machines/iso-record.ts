/** The pieces that an ISO 9660 image is made of. */

export const SECTOR_BYTES = 2048;
/** Length of a date in a volume descriptor. */
export const DATE_BYTES = 17;
/** A record's length stands in one byte, and is even. */
export const LONGEST_RECORD_BYTES = 254;
const RECORD_HEAD_BYTES = 33;
// Years since 1900, month, day, hour, minute, second, zone: 1980, as on floppies, where time begins then.
const DATE = Buffer.from([80, 1, 1, 0, 0, 0, 0]);

/** A run of sectors. */
export interface Extent {
  sector: number;
  sizeBytes: number;
}

/** A number twice, as this format has it: the little end first, then the big. */
export function bothEndian(value: number, sizeBytes: 2 | 4): Buffer {
  const bytes = Buffer.alloc(2 * sizeBytes);
  bytes.writeUIntLE(value, 0, sizeBytes);
  bytes.writeUIntBE(value, sizeBytes, sizeBytes);
  return bytes;
}

/** Where in a record the system use begins, by the length of the identifier. */
export function systemUseOffset(idBytes: number): number {
  return RECORD_HEAD_BYTES + idBytes + (idBytes % 2 === 0 ? 1 : 0);
}

/** One entry of a folder. */
export function encodeRecord(
  id: Buffer,
  extent: Extent,
  flags: number,
  systemUse: Buffer = Buffer.alloc(0),
): Buffer {
  const offset = systemUseOffset(id.length);
  const bytes = Buffer.alloc(offset + systemUse.length + (systemUse.length % 2));
  bytes[0] = bytes.length;
  bothEndian(extent.sector, 4).copy(bytes, 2);
  bothEndian(extent.sizeBytes, 4).copy(bytes, 10);
  DATE.copy(bytes, 18);
  bytes[25] = flags;
  bothEndian(1, 2).copy(bytes, 28);
  bytes[32] = id.length;
  id.copy(bytes, RECORD_HEAD_BYTES);
  systemUse.copy(bytes, offset);
  return bytes;
}

/** Fills the last sector up with zeros; even nothing takes one. */
export function padToSector(bytes: Buffer): Buffer {
  const sectors = Math.max(1, Math.ceil(bytes.length / SECTOR_BYTES));
  return Buffer.concat([bytes, Buffer.alloc(sectors * SECTOR_BYTES - bytes.length)]);
}
