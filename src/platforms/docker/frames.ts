import { StringDecoder } from "node:string_decoder";

/** Receives a piece of output; a promise it returns holds the stream back. */
export type OutputCallback = (chunk: Buffer) => void | Promise<void>;

/** What a stream carries cannot be understood, or is the engine's own report of a failure: a bare reason. */
export class FormatError extends Error {
  override name = "FormatError";
}

const headerBytes = 8;
const channels = ["stdin", "stdout", "stderr", "system"] as const;

/** A piece of one channel of a multiplexed stream. `system` carries an error of the engine itself. */
export interface Frame {
  channel: (typeof channels)[number];
  chunk: Buffer;
}

/**
 * Takes apart the engine's multiplexed output: frames of an 8-byte header (channel, size) and their bytes.
 * Headers and frames may be cut anywhere; a large frame is passed on piece by piece, never gathered.
 * Throws if the stream ends inside a frame: output would be missing without a sign.
 */
export async function* splitFrames(source: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let header: Buffer = Buffer.alloc(0);
  let channel: Frame["channel"] = "stdout";
  let leftBytes = 0;
  for await (let chunk of source) {
    while (chunk.length > 0) {
      if (leftBytes > 0) {
        const piece = chunk.subarray(0, leftBytes);
        leftBytes -= piece.length;
        chunk = chunk.subarray(piece.length);
        yield { channel, chunk: piece };
        continue;
      }
      const missing = headerBytes - header.length;
      header = Buffer.concat([header, chunk.subarray(0, missing)]);
      chunk = chunk.subarray(missing);
      if (header.length < headerBytes) break;
      channel = readChannel(header);
      leftBytes = header.readUInt32BE(4);
      header = Buffer.alloc(0);
    }
  }
  if (leftBytes > 0 || header.length > 0) throw new FormatError("the output ended in the middle of a frame");
}

/** Parses a stream of JSON values, one a line, as pull, push, load and build answer. */
export async function* splitJsonLines(
  source: AsyncIterable<Buffer>,
): AsyncGenerator<{ [key: string]: unknown }> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  for await (const chunk of source) {
    const lines = (rest + decoder.write(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim()) yield parseLine(line);
  }
  rest += decoder.end();
  if (rest.trim()) yield parseLine(rest);
}

function readChannel(header: Buffer): Frame["channel"] {
  const channel = channels[header[0] ?? channels.length];
  if (!channel)
    throw new FormatError(`the output is not multiplexed: a frame begins with ${header.toString("hex")}`);
  return channel;
}

function parseLine(line: string): { [key: string]: unknown } {
  try {
    return JSON.parse(line) as { [key: string]: unknown };
  } catch (error) {
    throw new FormatError(`a line of the engine's progress is not JSON: ${line.slice(0, 200)}`, {
      cause: error,
    });
  }
}
