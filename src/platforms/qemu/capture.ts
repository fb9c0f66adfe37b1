/** From a machine's disk to the image's file. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";
import type { BuildContext } from "../../core/context";
import type { Disk, QemuDriver } from "./driver";
import type { QemuImageOptions } from "./options";

const READ_BYTES = 4 * 2 ** 20;

/** Where the image of a fingerprint is to be, relative to the program's folder. `id` tells it from one of the same name that is there already. */
export function nameImage(
  options: QemuImageOptions,
  { name, fingerprint, id, cwd }: { name: string; fingerprint: string; id: string; cwd: string },
): string {
  const format = options.format ?? "qcow2";
  const short = fingerprint.replace(/^k\d+:/, "").slice(0, 12);
  const stem = path.posix.join(
    options.outputDirectory ?? "images",
    `${name.replace(/[^\w.-]/g, "_")}-${short}`,
  );
  const plain = `${stem}.${format}`;
  return fs.existsSync(path.resolve(cwd, plain)) ? `${stem}-${id.split("-")[1]}.${format}` : plain;
}

/** The path of the UEFI variables that go with an image. */
export function nameVariables(image: string): string {
  return image.replace(/\.[^.]*$/, "-efivars.fd");
}

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
  await pipeline(fs.createReadStream(file, { highWaterMark: READ_BYTES }), hash, { signal });
  return hash.digest("hex");
}
