/** A small Debian on a disk that QEMU boots, by BIOS or UEFI, quickly even where the processor is emulated. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { installPackages } from "./apt.mjs";
import { cachePath } from "./cache.mjs";
import { run } from "./command.mjs";
import { createDisk, rootPartition, writeBootSectors, writeEfiPartition } from "./qemu-boot.mjs";
import { makeInitialDisk, saveKernel } from "./qemu-kernel.mjs";
import { ensureMade, hashFile, recipePath } from "./qemu-recipe.mjs";

const tools = ["mmdebstrap", "debian-archive-keyring", "e2fsprogs", "mtools", "cpio", "qemu-utils"];
const bootLoaders = ["grub-common", "grub-pc-bin", "grub-efi-amd64-bin"];
const debianPackages = [
  ...["linux-image-cloud-amd64", "systemd-sysv", "dbus", "e2fsprogs", "busybox-static", "iproute2"],
  ...["openssh-server", "sudo", "libnss-myhostname", "wget", "procps", "python3"],
];
const ownUnits = ["quick-network", "quick-seed", "quick-power-button"];

const recipe = [
  ...["qemu-boot.mjs", "qemu-kernel.mjs"].map((name) => recipePath(join("..", name))),
  ...["root", "boot"].map(recipePath),
  fileURLToPath(import.meta.url),
];

/**
 * @typedef {object} QemuDisk
 * @property {string} path a qcow2; its user is debian, and it reads NoCloud seeds
 * @property {string} sha256
 * @property {string} kernelFolder its kernel, see saveKernel
 */

/**
 * The disk that the person names, else our own.
 * @returns {Promise<{ path: string, sha256: string }>}
 */
export async function findQemuDisk() {
  const wished = process.env.KILN_QEMU_DISK;
  // Our own may have another recipe by now.
  if (!wished || wished.startsWith(cachePath("qemu"))) return ensureQemuDisk();
  return { path: wished, sha256: await hashFile(wished) };
}

/**
 * Finds the disk in the cache, or makes it.
 * @returns {Promise<QemuDisk>}
 */
export async function ensureQemuDisk() {
  const folder = await ensureMade("disk", recipe, async (draft) => {
    await installPackages(
      [...tools, ...bootLoaders],
      "Name a qcow2 with Debian, cloud-init and an SSH server by KILN_QEMU_DISK.",
    );
    await makeDisk(draft);
  });
  return {
    path: join(folder, "debian.qcow2"),
    sha256: readFileSync(join(folder, "sha256"), "utf8"),
    kernelFolder: join(folder, "kernel"),
  };
}

/** @param {string} folder */
async function makeDisk(folder) {
  const root = join(folder, "root");
  const raw = join(folder, "debian.raw");
  const disk = join(folder, "debian.qcow2");
  const kernel = join(folder, "kernel");
  await makeRoot(root);
  saveKernel(root, kernel);
  mkdirSync(join(root, "boot/quick"));
  copyFileSync(join(kernel, "vmlinuz"), join(root, "boot/quick/vmlinuz"));
  await makeInitialDisk(kernel, [recipePath("boot/init")], join(root, "boot/quick/initrd"));
  createDisk(raw);
  await writeBootSectors(raw, folder);
  await writeEfiPartition(raw, folder);
  // Of all ext4's features this one is unknown to the boot loader.
  const features = ["-O", "^metadata_csum_seed", "-L", "kiln", "-E", `offset=${rootPartition.startBytes}`];
  const size = `${rootPartition.sizeBytes / 1024}k`;
  await run("mke2fs", ["-q", "-F", "-t", "ext4", ...features, "-d", root, raw, size]);
  // Not compressed: what a boot reads would have to be decompressed by a processor that has enough to do.
  await run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", raw, disk]);
  writeFileSync(join(folder, "sha256"), await hashFile(disk));
  rmSync(raw);
  rmSync(root, { recursive: true });
}

/**
 * Debian's packages and our files, unpacked.
 * @param {string} root
 */
async function makeRoot(root) {
  mkdirSync(root);
  const leaveOut = ["doc", "info", "man", "locale"].map(
    (name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`,
  );
  const unwanted = readFileSync(recipePath("boot/unwanted-units"), "utf8").trim().split("\n").join(" ");
  const hooks = [
    // By its socket it starts when somebody asks for it.
    '--customize-hook=rm "$1"/lib/systemd/system/multi-user.target.wants/dbus.service',
    '--customize-hook=cp -R "$KILN_RECIPE_ROOT/." "$1"',
    `--customize-hook=chroot "$1" systemctl enable ${ownUnits.join(" ")}`,
    `--customize-hook=chroot "$1" systemctl mask ${unwanted}`,
    '--customize-hook=chroot "$1" systemctl set-default multi-user.target',
    '--customize-hook=chroot "$1" useradd --create-home --shell /bin/bash debian',
    '--customize-hook=rm -r "$1"/etc/ssh/ssh_host_* "$1"/etc/update-motd.d/*',
  ];
  const packages = `--include=${debianPackages.join(",")}`;
  await run("mmdebstrap", ["--variant=minbase", packages, ...leaveOut, ...hooks, "bookworm", root], {
    // The kernel's initial disk is ours.
    env: { KILN_RECIPE_ROOT: recipePath("root"), INITRD: "No" },
  });
  // Empty: made at the first boot, and yet not the kind of first boot that resets which units are enabled.
  writeFileSync(join(root, "etc/machine-id"), "");
}
