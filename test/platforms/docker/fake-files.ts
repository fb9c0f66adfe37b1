/** Files of the fake engine's images and containers, and their way through tar. */
import { Readable } from "node:stream";
import * as tar from "tar-stream";

/** By absolute path, or relative to an archive. */
export type Files = Map<string, Buffer | "folder">;

export function packFiles(files: Files): Readable {
  const pack = tar.pack();
  for (const [name, content] of files) {
    if (content === "folder") pack.entry({ name: `${name}/`, type: "directory" });
    else pack.entry({ name }, content);
  }
  pack.finalize();
  return Readable.from(pack, { objectMode: false });
}

export async function unpackFiles(archive: AsyncIterable<Uint8Array>): Promise<Files> {
  const files: Files = new Map();
  for await (const entry of Readable.from(copyEach(archive)).pipe(tar.extract())) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const name = entry.header.name.replace(/\/$/, "");
    files.set(name, entry.header.type === "directory" ? "folder" : Buffer.concat(chunks));
  }
  return files;
}

/** A piece may be overwritten when the next is asked for. */
async function* copyEach(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  for await (const piece of pieces) yield Buffer.from(piece);
}
