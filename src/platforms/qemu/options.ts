import { z } from "zod";
import type { SshOptions } from "../../communicators/ssh-options";
import { checkSshOptions, sshShape } from "../../communicators/ssh-schema";
import type { Duration } from "../../core/duration";
import type { OptionsSchema } from "../../core/model";
import type { CommonOptions } from "../../core/platform";
import { containsUnknown, duration, imageShape, optionsSchema, schemaOf } from "../../core/schema";
import { findBootCommandProblems } from "../../machines/boot-command";
import { parseChecksum } from "../../machines/checksum";
import { isBinarySize } from "./binary-size";

/** Data for cloud-init, on a disk with the label `cidata` (its NoCloud source). */
export interface CloudInitOptions {
  /** As cloud-init takes it, e.g. beginning with `#cloud-config`; `{{ .Secrets.NAME }}` is filled in for the names in `secrets`, and `{{ .SSHPublicKey }}`, which a `users` list of your own must give to `sshUsername`. Default: nothing but the login. */
  userData?: string;
  /** More keys of `meta-data`. */
  metaData?: Record<string, string>;
  /** Text of `network-config`. Default: cloud-init's own, which is DHCP. */
  networkConfig?: string;
  /** Names of the image's `secrets` that `userData` uses. No machine that got one is saved. */
  secrets?: string[];
}

/** A test of the finished image, before anybody sees it. */
export interface BootTestOptions {
  /** Run one after the other in a machine booted from the image; each must end with 0. */
  commands: string[];
  /** The longest that boot and commands may take. Default: "5m". */
  timeout?: Duration;
}

/** Where the firmware is, if it is not found by itself. */
export interface EfiOptions {
  /** Path of the code, e.g. `/usr/share/OVMF/OVMF_CODE.fd`. Same as Packer's `efi_firmware_code`. */
  code: string;
  /** Path of the variables that a new machine begins with. Same as Packer's `efi_firmware_vars`. */
  variables: string;
}

/** Options of `kiln.qemu.Image`. Names are those of Packer's qemu builder in camelCase. */
export interface QemuImageOptions extends CommonOptions, SshOptions {
  /** The installer or the disk to start from: a URL, or a path from the program's folder, also of another `qemu.Image` (then give its `sha256` as checksum). Same as Packer's `iso_url`. */
  isoUrl: string;
  /** `sha256:…`, a bare digest, `file:` and the place of a list of checksums, or "none". A local file needs none: its content is hashed. Same as Packer's `iso_checksum`. */
  isoChecksum?: string;
  /** `isoUrl` is a disk that boots, not an installer. Default: false. Same as Packer's `disk_image`. */
  diskImage?: boolean;
  /** Format of that disk; it is never guessed. Default: "qcow2". */
  sourceFormat?: "qcow2" | "raw";
  /** Format of the result. Default: "qcow2". Packer's `format` has the first two. */
  format?: "qcow2" | "raw" | "vmdk" | "vdi" | "vhdx";
  /** Size of the disk, e.g. "8GiB"; a disk that is the source grows to it. Default: "40GiB", or the size of the source. Same as Packer's `disk_size`. */
  diskSize?: string;
  /** Further disks, empty, with these sizes; they belong to the build's machine only. Packer's `disk_additional_size`. */
  additionalDisks?: string[];
  /** "virtio" (default), "virtio-scsi", "ide", "sata". Same as Packer's `disk_interface`. */
  diskInterface?: "virtio" | "virtio-scsi" | "ide" | "sata";
  /** Model of the network card. Default: "virtio-net-pci". Packer's `net_device`. */
  netDevice?: string;
  /** Memory of the build's machine. Default: "1GiB" (Packer: 512 MiB). Same as Packer's `memory`. */
  memory?: string;
  /** Processors of the build's machine. Default: 1. Same as Packer's `cpus`. */
  cpus?: number;
  /** Default: this machine's own where it is accelerated, else "Nehalem". Same as Packer's `cpu_model`. */
  cpuModel?: string;
  /** Default: "pc". Same as Packer's `machine_type`. */
  machineType?: string;
  /** Default: "auto", which is KVM where it works, else QEMU's own TCG. Same as Packer's `accelerator`. */
  accelerator?: "auto" | "kvm" | "tcg" | "hvf" | "whpx" | "xen" | "none";
  /** Boot by UEFI; its variables become a second file of the image. Default: false. Same as Packer's `efi_boot`. */
  efi?: boolean | EfiOptions;
  /** Show no window. Default: true (Packer: false). Same as Packer's `headless`. */
  headless?: boolean;
  /** Further arguments, e.g. `[["-device", "virtio-rng-pci"]]`. Unlike Packer's `qemuargs` they take nothing away. */
  qemuArguments?: string[][];
  /** Default: "qemu-system-x86_64". Same as Packer's `qemu_binary`. */
  qemuBinary?: string;
  /** Typed after `bootWait`, in Packer's language. Same as Packer's `boot_command`. */
  bootCommand?: string[];
  /** Default: "10s". Same as Packer's `boot_wait`. */
  bootWait?: Duration;
  /** Between two keys. Default: "20ms" (Packer: 100ms). Same as Packer's `boot_key_interval`. */
  bootKeyInterval?: Duration;
  /** Served over HTTP to the machine while it is built. Same as Packer's `http_directory`. */
  httpDirectory?: string;
  /** The same, by path: `{ "/preseed.cfg": "…" }`; `{{ .SSHPublicKey }}`, `{{ .HTTPIP }}`, `{{ .HTTPPort }}` and `{{ .Name }}` are filled in. Same as Packer's `http_content`. */
  httpContent?: Record<string, string>;
  /** Default: 8000. Same as Packer's `http_port_min`. */
  httpPortMin?: number;
  /** Default: 9000. Same as Packer's `http_port_max`. */
  httpPortMax?: number;
  /** Files and folders for a further CD. Same as Packer's `cd_files`. */
  cdFiles?: string[];
  /** The same, by name. Same as Packer's `cd_content`. */
  cdContent?: Record<string, string>;
  /** Default: "packer", so that answer files find it. Same as Packer's `cd_label`. */
  cdLabel?: string;
  /** Files for a floppy. Same as Packer's `floppy_files`. */
  floppyFiles?: string[];
  /** The same, by name. Same as Packer's `floppy_content`. */
  floppyContent?: Record<string, string>;
  /** Default: "packer". Same as Packer's `floppy_label`. */
  floppyLabel?: string;
  /** A disk with data for cloud-init; `{}` gives the login alone. */
  cloudInit?: CloudInitOptions;
  /** Run over SSH at the end; what it does to the disk is in the image, so a changed one rebuilds. Default: the machine's power button. Same as Packer's `shutdown_command`. */
  shutdownCommand?: string;
  /** How long the machine may take to end. Default: "5m". Same as Packer's `shutdown_timeout`. */
  shutdownTimeout?: Duration;
  /** Take out what is of this machine alone: the temporary key, host keys, machine-id, random seed, cloud-init's data. Default: true. */
  seal?: boolean;
  /** Compress the image (qcow2). Default: false. Same as Packer's `disk_compression`. */
  compress?: boolean;
  /** Let the image stand on its source, which must stay where it is (qcow2). Default: false. Packer's `use_backing_file`. */
  thin?: boolean;
  /** Boots the finished image, with all changes thrown away, and runs commands in it. It shapes nothing: a changed one tests the next image that is built. */
  bootTest?: BootTestOptions;
  /** Where the image goes. Default: "images". Same as Packer's `output_directory`. */
  outputDirectory?: string;
}

const text = z.string().min(1);
const strings = z.array(text).optional();
const map = z.record(z.string(), z.string()).optional();
const size = z.string().refine(isBinarySize, { error: 'expected a size such as "8GiB", "512MiB" or "40G"' });
const port = z.int().min(1).max(65535).optional();

const bootCommand = z.array(z.string()).superRefine((texts, context) => {
  for (const { index, at, reason } of findBootCommandProblems(texts))
    context.addIssue({ code: "custom", path: [index], message: `at character ${at + 1}: ${reason}` });
});

const checksum = text.superRefine((value, context) => {
  try {
    parseChecksum(value);
  } catch (error) {
    context.addIssue({ code: "custom", message: (error as Error).message });
  }
});

export const qemuImageSchema: OptionsSchema<QemuImageOptions> = schemaOf<QemuImageOptions>()(
  optionsSchema({
    ...imageShape,
    ...sshShape,
    isoUrl: text,
    isoChecksum: checksum.optional(),
    diskImage: z.boolean().optional(),
    sourceFormat: z.enum(["qcow2", "raw"]).optional(),
    format: z.enum(["qcow2", "raw", "vmdk", "vdi", "vhdx"]).optional(),
    diskSize: size.optional(),
    additionalDisks: z.array(size).optional(),
    diskInterface: z.enum(["virtio", "virtio-scsi", "ide", "sata"]).optional(),
    netDevice: text.optional(),
    memory: size.optional(),
    cpus: z.int().min(1).max(1024).optional(),
    cpuModel: text.optional(),
    machineType: text.optional(),
    accelerator: z.enum(["auto", "kvm", "tcg", "hvf", "whpx", "xen", "none"]).optional(),
    efi: z.union([z.boolean(), optionsSchema({ code: text, variables: text })]).optional(),
    headless: z.boolean().optional(),
    qemuArguments: z.array(z.array(z.string()).min(1)).optional(),
    qemuBinary: text.optional(),
    bootCommand: bootCommand.optional(),
    bootWait: duration.optional(),
    bootKeyInterval: duration.optional(),
    httpDirectory: text.optional(),
    httpContent: map,
    httpPortMin: port,
    httpPortMax: port,
    cdFiles: strings,
    cdContent: map,
    cdLabel: text.optional(),
    floppyFiles: strings,
    floppyContent: map,
    floppyLabel: text.optional(),
    cloudInit: optionsSchema({
      userData: z.string().optional(),
      metaData: map,
      networkConfig: z.string().optional(),
      secrets: strings,
    }).optional(),
    shutdownCommand: text.optional(),
    shutdownTimeout: duration.optional(),
    seal: z.boolean().optional(),
    compress: z.boolean().optional(),
    thin: z.boolean().optional(),
    bootTest: optionsSchema({ commands: z.array(text).min(1), timeout: duration.optional() }).optional(),
    outputDirectory: text.optional(),
  })
    .check(checkSshOptions)
    .check(checkTogether),
);

/** What single options cannot tell. */
function checkTogether(context: z.core.ParsePayload<QemuImageOptions>): void {
  const { isoUrl, isoChecksum, thin, compress, format, diskImage, cloudInit, secrets } = context.value;
  const problem = (path: string, message: string): void =>
    void context.issues.push({ code: "custom", input: context.value, path: [path], message });
  if (/^https?:\/\//.test(isoUrl) && isoChecksum === undefined)
    problem("isoUrl", 'a URL needs `isoChecksum`; "none" takes whatever comes');
  if (thin && !diskImage) problem("thin", "needs `diskImage`: an installed machine stands on nothing");
  if ((thin || compress) && (format ?? "qcow2") !== "qcow2")
    problem(thin ? "thin" : "compress", `needs the format qcow2, not ${format}`);
  const { bootTest, sshPassword, sshPrivateKeyFile, sshAgentAuth } = context.value;
  if (bootTest && !cloudInit && !sshAgentAuth && (sshPassword ?? sshPrivateKeyFile) === undefined)
    problem(
      "bootTest",
      "needs a login for the finished image: `cloudInit`, `sshPassword` or `sshPrivateKeyFile`",
    );
  if (thin && isoChecksum === "none")
    problem("thin", "needs a checksum of its source: another one under it would be another image");
  const names = Array.isArray(cloudInit?.secrets) ? cloudInit.secrets : [];
  for (const name of names.filter((one) => !containsUnknown(one)))
    if (typeof secrets !== "string" && secrets?.[name] === undefined)
      problem("cloudInit", `its secret "${name}" is not in \`secrets\``);
}
