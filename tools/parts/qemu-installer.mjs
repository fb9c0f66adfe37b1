/** An installation CD of our own make: it writes the small Debian to the machine's disk, as an answer file says. */
import {
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { installPackages } from "./apt.mjs";
import { run } from "./command.mjs";
import { ensureQemuDisk } from "./qemu-disk.mjs";
import { makeInitialDisk } from "./qemu-kernel.mjs";
import { ensureMade, hashFile, recipePath } from "./qemu-recipe.mjs";

const blockBytes = 1024 * 1024;
const tools = ["xorriso", "isolinux", "syslinux-common", "cpio"];

/**
 * Finds the installer in the cache, or makes it.
 * @returns {Promise<{ path: string, sha256: string }>}
 */
export async function ensureQemuInstaller() {
  const disk = await ensureQemuDisk();
  const recipe = [recipePath("installer"), join(disk.path, "../sha256"), fileURLToPath(import.meta.url)];
  const folder = await ensureMade("installer", recipe, async (draft) => {
    await installPackages(tools, "Without it the tests of an installation from a CD are skipped.");
    await makeInstaller(draft, disk);
  });
  return { path: join(folder, "installer.iso"), sha256: readFileSync(join(folder, "sha256"), "utf8") };
}

/**
 * @param {string} folder
 * @param {import("./qemu-disk.mjs").QemuDisk} disk
 */
async function makeInstaller(folder, disk) {
  const content = join(folder, "content");
  const installer = join(folder, "installer.iso");
  mkdirSync(join(content, "isolinux"), { recursive: true });
  const programs = ["init", "configure-network"].map((name) => recipePath(`installer/${name}`));
  await makeInitialDisk(disk.kernelFolder, programs, join(content, "isolinux/initrd.gz"));
  await packDisk(disk.path, content, folder);
  for (const file of [
    join(disk.kernelFolder, "vmlinuz"),
    recipePath("installer/isolinux.cfg"),
    "/usr/lib/ISOLINUX/isolinux.bin",
    "/usr/lib/syslinux/modules/bios/ldlinux.c32",
  ])
    cpSync(file, join(content, "isolinux", file.slice(file.lastIndexOf("/") + 1)));
  const boot = ["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot"];
  const options = [...boot, "-boot-load-size", "4", "-boot-info-table", "-V", "KILN_INSTALLER", "-r", "-J"];
  await run("xorriso", ["-as", "mkisofs", "-quiet", "-o", installer, ...options, content]);
  writeFileSync(join(folder, "sha256"), await hashFile(installer));
  rmSync(content, { recursive: true });
}

/**
 * Writes `disk.data`, those mebibytes of a disk that are not all zero, and `disk.runs`: where each run of them begins,
 * and how long it is. So a disk of 2 GiB fits a small CD, and is copied without decompressing.
 * @param {string} disk
 * @param {string} content
 * @param {string} folder
 */
async function packDisk(disk, content, folder) {
  const raw = join(folder, "disk.raw");
  await run("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", disk, raw]);
  const source = openSync(raw, "r");
  const data = openSync(join(content, "disk.data"), "w");
  const block = Buffer.alloc(blockBytes);
  /** @type {{ first: number, count: number }[]} */
  const runs = [];
  for (let index = 0; readSync(source, block, 0, blockBytes, index * blockBytes) > 0; index++) {
    if (block.equals(zeros)) continue;
    writeSync(data, block);
    const last = runs.at(-1);
    if (last && last.first + last.count === index) last.count++;
    else runs.push({ first: index, count: 1 });
  }
  closeSync(source);
  closeSync(data);
  rmSync(raw);
  writeFileSync(join(content, "disk.runs"), runs.map(({ first, count }) => `${first} ${count}\n`).join(""));
}

const zeros = Buffer.alloc(blockBytes);
