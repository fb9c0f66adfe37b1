import { describeError } from "../../core/errors";
import type { BuildContext } from "../../core/context";
import { throwIfAborted } from "../../core/retry";
import { formatBytes } from "../../core/size";
import { parseChecksum, resolveChecksum } from "../../machines/checksum";
import { hideSecrets } from "../../machines/http-request";
import { fetchSource } from "../../machines/source-file";
import { parseBinarySize } from "./binary-size";
import type { Disk, DiskDetails, QemuDriver } from "./driver";
import type { QemuImageOptions } from "./options";

const CHECKSUM_TIMEOUT_MS = 30_000;

/** What a machine starts from, on this machine and checked. */
export interface SourceDisk {
  sha256: string;
  /** A disk that boots. */
  disk?: Disk;
  /** Or a CD that installs one. */
  iso?: string;
}

/** `base`: the digest that a list of checksums named when the fingerprint was made. */
export async function findSource(
  context: Pick<BuildContext, "cwd" | "signal" | "log">,
  driver: QemuDriver,
  options: QemuImageOptions,
  base: string | undefined,
): Promise<SourceDisk> {
  const { isoUrl, isoChecksum, diskImage, sourceFormat = "qcow2" } = options;
  const { cwd, signal, log } = context;
  const checksum = await findChecksum(isoUrl, base ?? isoChecksum, cwd, signal);
  const onProgress = (done: number, total: number | undefined): void =>
    log.progress(`${formatBytes(done)}${total === undefined ? "" : ` of ${formatBytes(total)}`}`);
  const { path, sha256 } = await fetchSource({ source: isoUrl, checksum, cwd, signal, onProgress });
  if (!diskImage) return { sha256, iso: path };
  const disk = { path, format: sourceFormat };
  const shown = hideSecrets(isoUrl);
  const { virtualSizeBytes } = await requireWhole(driver, disk, shown, signal);
  if (options.diskSize !== undefined && parseBinarySize(options.diskSize) < virtualSizeBytes)
    throw new Error(
      `Starting from ${shown}: its disk has ${virtualSizeBytes / 2 ** 20} MiB, and \`diskSize\` ${options.diskSize} would cut off its end`,
    );
  return { sha256, disk };
}

async function findChecksum(
  source: string,
  text: string | undefined,
  cwd: string,
  signal: AbortSignal,
): ReturnType<typeof resolveChecksum> {
  if (text === undefined) return undefined;
  const parsed = parseChecksum(text);
  if (parsed === "none") return undefined;
  return "file" in parsed
    ? resolveChecksum(text, source, { cwd, signal, timeoutMs: CHECKSUM_TIMEOUT_MS })
    : parsed;
}

/** What a disk stands on is a path that its maker chose: any file of this machine could come into the image by it. */
async function requireWhole(
  driver: QemuDriver,
  disk: Disk,
  shown: string,
  signal: AbortSignal,
): Promise<DiskDetails> {
  let details;
  try {
    details = await driver.inspectDisk(disk, signal);
  } catch (error) {
    throwIfAborted(signal);
    throw new Error(
      `Reading ${shown} as ${disk.format}: ${describeError(error)}. Is it of another format? See \`sourceFormat\``,
      { cause: error },
    );
  }
  if (details.standsOn === undefined) return details;
  throw new Error(
    `Using ${shown}: it stands on another file (${details.standsOn}), and is not a whole disk. Make one of it: qemu-img convert -O qcow2`,
  );
}
