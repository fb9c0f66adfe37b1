import * as crypto from "node:crypto";
import * as fs from "node:fs";
import { throwIfAborted } from "./retry";

const CHUNK_BYTES = 1 << 20;

/** The digests of a file in one pass, as hexadecimal text. Big files take their time, but nothing else waits for them. */
export async function hashFile<Algorithm extends string>(
  file: string,
  algorithms: readonly Algorithm[],
  signal: AbortSignal,
  onProgress: (doneBytes: number) => void = () => undefined,
): Promise<Map<Algorithm, string>> {
  const hashes = [...new Set(algorithms)].map((algorithm) => ({
    algorithm,
    hash: crypto.createHash(algorithm),
  }));
  let doneBytes = 0;
  try {
    for await (const chunk of fs.createReadStream(file, { highWaterMark: CHUNK_BYTES, signal })) {
      for (const { hash } of hashes) hash.update(chunk as Buffer);
      doneBytes += (chunk as Buffer).length;
      onProgress(doneBytes);
    }
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  }
  return new Map(hashes.map(({ algorithm, hash }) => [algorithm, hash.digest("hex")]));
}

/** SHA-256; Node 20.12 has a quicker way for short inputs. */
export const sha256Bytes: (bytes: Uint8Array) => Buffer =
  typeof crypto.hash === "function"
    ? (bytes) => crypto.hash("sha256", bytes, "buffer")
    : (bytes) => crypto.createHash("sha256").update(bytes).digest();

/** The same as hexadecimal text. */
export const sha256Hex: (bytes: Uint8Array) => string =
  typeof crypto.hash === "function"
    ? (bytes) => crypto.hash("sha256", bytes, "hex")
    : (bytes) => crypto.createHash("sha256").update(bytes).digest("hex");

export async function sha256File(file: string, signal: AbortSignal): Promise<string> {
  return (await hashFile(file, ["sha256"], signal)).get("sha256") ?? "";
}
