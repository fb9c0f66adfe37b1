/** From a machine's disk to the image's file. */
import type { BuildContext } from "../../core/context";
import type { Disk, QemuDriver } from "./driver";
import type { QemuImageOptions } from "./options";

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
