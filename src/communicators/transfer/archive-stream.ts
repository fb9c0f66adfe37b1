import * as fs from "node:fs";
import { ChangedFileError } from "./changed-file";
import { stagedMode, type PlannedEntry } from "./plan";
import { SMALL_FILE_BYTES, streamTar, type TarItem } from "./tar-stream";

/** What an upload's archive holds, in order; a text that is known only when its turn comes is a function. */
export type ArchiveItem =
  | { text: string | (() => string); name: string }
  | { entry: PlannedEntry }
  | { entry: PlannedEntry; name: string; fromByte: number };

/** The archive in pieces, as `streamTar` gives them. Hashes of files that are still open are noted on the way. */
export function streamArchive(items: Iterable<ArchiveItem>): AsyncGenerator<Buffer> {
  return streamTar(describeItems(items));
}

function* describeItems(items: Iterable<ArchiveItem>): Generator<TarItem> {
  for (const item of items) {
    if ("text" in item) {
      const content = Buffer.from(typeof item.text === "string" ? item.text : item.text());
      const header = { name: item.name, mode: 0o600, mtimeMs: Date.now(), sizeBytes: content.length };
      yield { header: { ...header, kind: "file" }, content };
    } else if ("fromByte" in item) {
      const { entry, name, fromByte } = item;
      const header = { name, mode: 0o600, mtimeMs: entry.mtimeMs, sizeBytes: entry.sizeBytes - fromByte };
      yield { header: { ...header, kind: "file" }, file: entry.file, fromByte };
    } else yield describeEntry(item.entry);
  }
}

function describeEntry(entry: PlannedEntry): TarItem {
  const { kind, mtimeMs, target, staged, content } = entry;
  const sizeBytes = kind === "file" ? entry.sizeBytes : 0;
  const header = { name: staged, kind, mode: stagedMode(entry), mtimeMs, target, sizeBytes };
  if (kind !== "file" || content) return { header, content };
  const onHash = entry.hash === "" ? (hash: string): void => noteHash(entry, hash) : undefined;
  return { header, file: entry.file, onHash };
}

function noteHash(entry: PlannedEntry, hash: string): void {
  const { file = "", sizeBytes, mtimeMs } = entry;
  if (sizeBytes > SMALL_FILE_BYTES) {
    // Nobody else has read it: was it one and the same all the while?
    const stats = fs.statSync(file, { throwIfNoEntry: false });
    if (stats?.size !== sizeBytes || stats.mtimeMs !== mtimeMs) throw new ChangedFileError(file);
  }
  entry.hash = hash;
}
