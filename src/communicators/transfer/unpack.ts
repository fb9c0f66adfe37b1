import { createHash } from "node:crypto";
import { createWriteStream, writeFileSync } from "node:fs";
import * as fs from "node:fs/promises";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import * as tar from "tar-stream";

const SMALL_FILE_BYTES = 128 * 1024;

/** What came in an archive, before it is put in place. Names are bytes: a machine's need not be text. */
export interface Unpacked {
  kind: "file" | "directory" | "symlink";
  name: Buffer;
  mode: number;
  mtime: Date;
  hash?: string;
  target?: Buffer;
}

/**
 * Unpacks below `folder`, which must be new and empty: no file is written through a link, since links come last. Files
 * can be read and written by their owner alone until they are placed. Of all names the first `strip` parts are left out.
 * `cut` rejects when nothing more will come.
 */
export async function unpackTar(
  archive: Readable,
  folder: string,
  {
    strip = 0,
    cut,
    onBytes = () => undefined,
  }: { strip?: number; cut?: Promise<unknown>; onBytes?: (count: number) => void } = {},
): Promise<Unpacked[]> {
  const found: Unpacked[] = [];
  const hashes = new Map<string, string>();
  const extract = tar.extract({ filenameEncoding: "latin1" } as object);
  archive.on("error", (error) => extract.destroy(error));
  cut?.catch((error: unknown) => extract.destroy(error as Error));
  archive.pipe(extract);
  for await (const entry of extract) {
    const { header } = entry;
    const name = requireInside(toBytes(header.name, findExtended(header, "path")), strip);
    const base = { name, mode: (header.mode ?? 0o644) & 0o7777, mtime: header.mtime ?? new Date() };
    const path = joinBytes(folder, name);
    if (header.type === "file" || header.type === "contiguous-file") {
      const digest = await writeEntry(entry, header.size ?? 0, path, onBytes);
      hashes.set(name.toString("latin1"), digest);
      found.push({ ...base, kind: "file", hash: digest });
      continue;
    }
    entry.resume();
    const target = toBytes(header.linkname ?? "", findExtended(header, "linkpath"));
    if (header.type === "directory") {
      if (name.length > 0) await fs.mkdir(path, { mode: 0o700 });
      found.push({ ...base, kind: "directory" });
    } else if (header.type === "symlink") {
      found.push({ ...base, kind: "symlink", target });
    } else if (header.type === "link") {
      const original = requireInside(target, strip);
      const hash = hashes.get(original.toString("latin1"));
      if (hash === undefined)
        throw new Error(`${name.toString()} is a hard link to a file that is not fetched with it`);
      await fs.copyFile(joinBytes(folder, original), path);
      found.push({ ...base, kind: "file", hash });
    }
  }
  for (const { kind, name, target } of found)
    if (kind === "symlink") await fs.symlink(target as Buffer, joinBytes(folder, name));
  return found;
}

/** The content's hash. Small files at once: thousands of streams cost more than what is in them. */
async function writeEntry(
  entry: AsyncIterable<unknown>,
  sizeBytes: number,
  path: Buffer,
  onBytes: (count: number) => void,
): Promise<string> {
  const hash = createHash("sha256");
  const options = { mode: 0o600, flag: "wx", flags: "wx" };
  const chunks: Buffer[] = [];
  async function* watch(): AsyncGenerator<Buffer> {
    for await (const chunk of entry as AsyncIterable<Buffer>) {
      hash.update(chunk);
      onBytes(chunk.length);
      yield chunk;
    }
  }
  if (sizeBytes > SMALL_FILE_BYTES) await pipeline(watch(), createWriteStream(path, options));
  else {
    for await (const chunk of watch()) chunks.push(chunk);
    writeFileSync(path, Buffer.concat(chunks), options);
  }
  return hash.digest("hex");
}

export function joinBytes(folder: string, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), name]);
}

function findExtended({ pax }: tar.Header, key: string): string | undefined {
  return (pax as Record<string, string> | null | undefined)?.[key];
}

/** A name's bytes: those of an extended header are text, all others were read one byte per character. */
function toBytes(name: string, extended: string | undefined): Buffer {
  return Buffer.from(name, extended === undefined ? "latin1" : "utf8");
}

/** Without `./` at the begin and `/` at the end; "" is the folder itself. */
function requireInside(name: Buffer, strip: number): Buffer {
  const text = name
    .toString("latin1")
    .replace(/^(\.\/+)+|^\.$/, "")
    .replace(/\/+$/, "");
  if (text.startsWith("/") || text.split("/").includes(".."))
    throw new Error(`the machine's archive holds the path "${text}", which leads outside`);
  return Buffer.from(text.split("/").slice(strip).join("/"), "latin1");
}
