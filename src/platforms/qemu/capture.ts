/** From a machine's disk to the image's file. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { pipeline } from "node:stream/promises";
import type { BuildContext } from "../../core/context";
import { throwIfAborted } from "../../core/retry";
import type { Disk, QemuDriver } from "./driver";
import type { QemuImageOptions } from "./options";

const READ_BYTES = 4 * 2 ** 20;

export async function writeImage(
  context: BuildContext,
  driver: QemuDriver,
  options: QemuImageOptions,
  { disk, backing, target }: { disk: Disk; backing?: Disk; target: string },
): Promise<void> {
  const { log, signal } = context;
  // The conversion copies what the first layer holds, and takes the rest for what is on the disk below.
  if (backing) await driver.rebaseDisk(disk.path, backing, signal);
  await driver.convertDisk({
    source: disk,
    target: { path: target, format: options.format ?? "qcow2" },
    backing,
    compress: options.compress ?? false,
    onProgress: (percent) => log.progress(`${percent.toFixed(0)} %`),
    signal,
  });
}

export async function hashFile(file: string, signal: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  try {
    await pipeline(fs.createReadStream(file, { highWaterMark: READ_BYTES }), hash, { signal });
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  }
  return hash.digest("hex");
}
