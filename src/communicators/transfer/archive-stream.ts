import * as fs from "node:fs";
import { ChangedFileError } from "./changed-file";
import { PlannedEntry } from "./planned-entry";
import { SMALL_FILE_BYTES, streamTar, type TarItem } from "./tar-stream";

/** What an upload's archive holds, in order; a text that is known only when its turn comes is a function. */
export type ArchiveItem = PlannedEntry | ArchiveText | ArchiveRest;

export interface ArchiveText {
  text: string | (() => string);
  name: string;
}

/** The end of a file whose beginning has arrived. */
export interface ArchiveRest {
  entry: PlannedEntry;
  name: string;
  fromByte: number;
}

/** The archive in pieces, as `streamTar` gives them. Hashes of files that are still open are noted on the way. */
export function streamArchive(items: Iterable<ArchiveItem>): AsyncGenerator<Buffer> {
  return streamTar(describeItems(items));
}

function* describeItems(items: Iterable<ArchiveItem>): Generator<TarItem> {
  for (const item of items) {
    if (item instanceof PlannedEntry) yield describeEntry(item);
    else if ("text" in item) yield describeText(item);
    else {
      const { entry, name, fromByte } = item;
      const { mtimeMs, file } = entry;
      yield {
        name,
        kind: "file",
        mode: 0o600,
        mtimeMs,
        sizeBytes: entry.sizeBytes - fromByte,
        file,
        fromByte,
      };
    }
  }
}

function describeText({ name, text }: ArchiveText): TarItem {
  const content = Buffer.from(typeof text === "string" ? text : text());
  return { name, kind: "file", mode: 0o600, mtimeMs: Date.now(), sizeBytes: content.length, content };
}

function describeEntry(entry: PlannedEntry): TarItem {
  const { kind, mtimeMs, sizeBytes, target, content } = entry;
  return {
    name: entry.staged,
    kind,
    mode: entry.stagedMode,
    mtimeMs,
    sizeBytes,
    target,
    content,
    file: kind === "file" ? entry.file : undefined,
    onHash: kind === "file" && entry.hash === "" ? (hash) => noteHash(entry, hash) : undefined,
  };
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
