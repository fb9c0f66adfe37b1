/** The kernel of a Debian, and those of its modules that are needed in a machine of QEMU. */
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { run } from "./command.mjs";

const wantedModules = [
  ...["virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net"],
  ...["ata_piix", "sd_mod", "sr_mod", "isofs", "vfat", "nls_ascii", "nls_cp437"],
  ...["af_packet", "button", "evdev"],
];

/**
 * Copies `vmlinuz`, and into `modules` what to load, numbered in the order of loading.
 * @param {string} root
 * @param {string} folder
 */
export function saveKernel(root, folder) {
  const [version] = readdirSync(join(root, "lib/modules"));
  if (!version) throw new Error(`Looking for a kernel's modules in ${root}/lib/modules: there are none.`);
  const moduleFolder = join(root, "lib/modules", version);
  mkdirSync(join(folder, "modules"), { recursive: true });
  copyFileSync(join(root, "boot", `vmlinuz-${version}`), join(folder, "vmlinuz"));
  copyFileSync(join(root, "bin/busybox"), join(folder, "busybox"));
  for (const [index, path] of [...orderModules(moduleFolder)].entries()) {
    const name = `${String(index).padStart(2, "0")}-${basename(path)}`;
    copyFileSync(join(moduleFolder, path), join(folder, "modules", name));
  }
  // The other thousands are for hardware that no machine here has, and half of the disk.
  rmSync(join(moduleFolder, "kernel"), { recursive: true });
}

/**
 * Packs the file system in memory that a kernel begins with: Busybox, the modules, and the given programs.
 * @param {string} kernelFolder
 * @param {readonly string[]} programs `init` among them
 * @param {string} target
 */
export async function makeInitialDisk(kernelFolder, programs, target) {
  const root = `${target}.content`;
  for (const name of ["bin", "dev", "proc", "sys", "cdrom", "root", "target"])
    mkdirSync(join(root, name), { recursive: true });
  copyFileSync(join(kernelFolder, "busybox"), join(root, "bin/busybox"));
  cpSync(join(kernelFolder, "modules"), join(root, "modules"), { recursive: true });
  for (const program of programs) copyFileSync(program, join(root, basename(program)));
  const pack = 'cd "$1" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1 > "$2"';
  await run("sh", ["-c", pack, "-", root, target]);
  rmSync(root, { recursive: true });
}

/**
 * Paths of the wanted modules and of what they depend on, each after its own dependencies.
 * @param {string} moduleFolder
 */
function orderModules(moduleFolder) {
  /** @type {Map<string, string[]>} */
  const dependencies = new Map();
  for (const line of readFileSync(join(moduleFolder, "modules.dep"), "utf8").split("\n").filter(Boolean)) {
    const [path = "", needs = ""] = line.split(":");
    dependencies.set(path, needs.split(" ").filter(Boolean));
  }
  const builtIn = readFileSync(join(moduleFolder, "modules.builtin"), "utf8");
  /** @type {Set<string>} */
  const ordered = new Set();
  /** @param {string} path */
  function add(path) {
    for (const needed of dependencies.get(path) ?? []) if (!ordered.has(needed)) add(needed);
    ordered.add(path);
  }
  for (const name of wantedModules) {
    const path = [...dependencies.keys()].find((each) => basename(each) === `${name}.ko`);
    if (path) add(path);
    else if (!builtIn.includes(`/${name}.ko`))
      throw new Error(`Looking for the kernel's module ${name} in ${moduleFolder}: it is not there.`);
  }
  return ordered;
}
