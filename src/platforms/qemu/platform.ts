/**
 * Disk images for virtual machines. Needs QEMU's `qemu-system-x86_64` and `qemu-img` on this machine; runs one machine per
 * build, reached by SSH, which it ends; leaves the image's file, its claim in the ledger of this machine, and saved machines
 * in the cache folder.
 */
import type { Artifact, Json } from "../../core/model";
import type { Outputs, Platform } from "../../core/platform";
import { containsUnknown, UNKNOWN } from "../../core/schema";
import { SSH_NOT_IDENTITY } from "../../communicators/ssh-schema";
import { parseChecksum, resolveChecksum } from "../../machines/checksum";
import { OWN_STEPS } from "./builder";
import { isLocal, listMediaSources, localizePaths, nameMedia } from "./local-paths";
import { CREDENTIALS, OUTPUTS } from "./names";
import { qemuImageSchema, type QemuImageOptions } from "./options";
import { LocalQemuDriver } from "./qemu-driver";
import { QemuSite } from "./site";

/** How to run, how to reach, what to do afterwards. */
const NOT_IDENTITY = new Set<string>([
  ...SSH_NOT_IDENTITY,
  "isoUrl", "isoChecksum", "memory", "cpus", "cpuModel", "accelerator", "headless", "qemuBinary",
  "bootWait", "bootKeyInterval", "httpPortMin", "httpPortMax", "httpDirectory", "cdFiles", "floppyFiles",
  "shutdownTimeout", "bootTest", "outputDirectory",
  "provisioners", "postProcessors", "secrets", "triggers", "buildTimeout", "onError", "cache", "keep", "adopt",
]); // prettier-ignore

const CHECKSUM_TIMEOUT_MS = 10_000;

const driver = new LocalQemuDriver();

export const platform: Platform<QemuImageOptions> = {
  type: "qemu:Image",
  name: "qemu",
  schema: qemuImageSchema,
  postProcessors: [],
  credentialOptions: CREDENTIALS,
  outputNames: OUTPUTS,
  artifactOutputs: OUTPUTS,
  countOwnSteps: ({ bootTest }) => OWN_STEPS + (bootTest ? 1 : 0),
  identify,
  localize: localizePaths,
  listSources: (options) => [
    ...listMediaSources(options),
    ...(options.isoChecksum === undefined && isLocal(options.isoUrl) ? [{ path: options.isoUrl }] : []),
  ],
  describeBase(options) {
    const { isoUrl, isoChecksum } = options;
    if (!isoChecksum?.startsWith("file:")) return undefined;
    return { host: hostOf(isoChecksum.slice("file:".length)), dependsOn: [isoUrl, isoChecksum] };
  },
  async resolveBase({ isoUrl, isoChecksum = "" }, signal) {
    const found = await resolveChecksum(isoChecksum, isoUrl, {
      cwd: process.cwd(),
      signal,
      timeoutMs: CHECKSUM_TIMEOUT_MS,
    });
    return found && `${found.algorithm}:${found.digest}`;
  },
  connect: () => Promise.resolve(new QemuSite(driver)),
  describeOutputs,
  predictOutputs: (options) => ({
    format: options.format ?? "qcow2",
    ...(options.efi ? {} : { efiVariablesPath: "" }),
  }),
  listReplacing: (before, after) =>
    (before.outputDirectory ?? "") === (after.outputDirectory ?? "") ? [] : ["outputDirectory"],
  isClaimed: (artifact) => artifact.kind === "qemu-image",
  isRemote: () => false,
  updateOptions: [],
};

function identify(options: QemuImageOptions): { [key: string]: Json | undefined } {
  const shaping = Object.entries(options).filter(([name]) => !NOT_IDENTITY.has(name));
  return {
    source: identifySource(options),
    media: nameMedia(options),
    // Where the firmware lies is of this machine.
    ...Object.fromEntries<Json>(shaping as [string, Json][]),
    efi: identifyFirmware(options.efi),
  };
}

/** One's own is among the sources. */
function identifyFirmware(efi: QemuImageOptions["efi"]): Json | undefined {
  if (containsUnknown(efi)) return UNKNOWN;
  return typeof efi === "object" ? "own" : efi;
}

/** By its content, wherever it comes from; a local file without a checksum is among the sources. */
function identifySource({ isoUrl, isoChecksum }: QemuImageOptions): Json | undefined {
  if (containsUnknown(isoChecksum)) return UNKNOWN;
  // A local file that is not known yet is unknown among the sources.
  if (isoChecksum === undefined) return undefined;
  const checksum = parseChecksum(isoChecksum);
  if (checksum === "none") return isoUrl;
  // What the list names is the base.
  return "file" in checksum ? undefined : `${checksum.algorithm}:${checksum.digest}`;
}

function hostOf(place: string): string {
  return URL.canParse(place) ? new URL(place).host : "this machine";
}

function describeOutputs(artifact: Artifact): Outputs {
  const [path = "", variables = ""] = artifact.files ?? [];
  return {
    path,
    format: artifact.data["format"] ?? "",
    sha256: artifact.id.replace("sha256:", ""),
    sizeBytes: artifact.data["sizeBytes"] ?? 0,
    efiVariablesPath: variables,
  };
}
