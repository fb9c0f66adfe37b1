import { createGzip } from "node:zlib";
import { pipeline, Readable } from "node:stream";
import type { Machine } from "./machine";
import { TransferProgress } from "./progress";

/** Half of what one core compresses at the fastest level: below that, a compressed stream is through sooner. */
const SLOW_LINK_RATE = 20 * 1024 * 1024;
/** The other side takes this much before it holds us back, so a rate is known only after. */
const UNSEEN_BYTES = 4 * 1024 * 1024;
const SEEN_MS = 500;
/** To begin again costs two round trips, and reading what has arrived. */
const WORTH_CHANGING_BYTES = 16 * 1024 * 1024;

/** Thrown to end a try whose stream should have been compressed. */
export class SlowLinkError extends Error {
  constructor() {
    super("the link is slower than the compressor");
    this.name = "SlowLinkError";
  }
}

/** Compressed, if the link is known to be slower than the compressor. */
export function chooseForm(linkRate: number | undefined, totalBytes: number): "tar" | "gzip" {
  return linkRate !== undefined && linkRate < SLOW_LINK_RATE && totalBytes > UNSEEN_BYTES ? "gzip" : "tar";
}

export function compress(chunks: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  // Whoever stops reading ends the source too; whoever goes on reading gets its error.
  return pipeline(
    Readable.from(copyEach(chunks), { objectMode: false }),
    createGzip({ level: 1, chunkSize: 128 * 1024 }),
    () => undefined,
  );
}

/** For who still holds a piece when it asks for the next. */
async function* copyEach(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) yield Buffer.from(chunk);
}

/** Shows how far it is and how fast, and measures the link: each piece is taken only when the one before is on its way. */
export async function* watchLink(
  machine: Machine,
  chunks: AsyncIterable<Buffer>,
  { title, totalBytes, mayGiveUp }: { title: string; totalBytes: number; mayGiveUp: boolean },
): AsyncGenerator<Buffer> {
  const progress = new TransferProgress(title, totalBytes, (text) => machine.showProgress(text));
  for await (const chunk of chunks) {
    yield chunk;
    progress.add(chunk.length);
    const { sentBytes, elapsedMs } = progress;
    if (!mayGiveUp || sentBytes <= UNSEEN_BYTES || elapsedMs <= SEEN_MS) continue;
    const rate = ((sentBytes - UNSEEN_BYTES / 2) / elapsedMs) * 1000;
    machine.linkRate = rate;
    if (rate < SLOW_LINK_RATE && totalBytes - sentBytes > WORTH_CHANGING_BYTES) throw new SlowLinkError();
  }
}
