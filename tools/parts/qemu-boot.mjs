/** What makes a disk boot: the partition table and GRUB for BIOS before the partitions, GRUB for UEFI in the first. */
import { closeSync, ftruncateSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { run } from "./command.mjs";
import { recipePath } from "./qemu-recipe.mjs";

const sectorBytes = 512;
const partitionTable = 446;
const mebibyte = 1024 * 1024;
const diskBytes = 2048 * mebibyte;

const efiPartition = { type: 0xef, startBytes: 1 * mebibyte, sizeBytes: 7 * mebibyte };
/** Where the file system of the root folder is. The last one, so that a larger disk lets it grow. */
export const rootPartition = { type: 0x83, startBytes: 8 * mebibyte, sizeBytes: diskBytes - 8 * mebibyte };

// All that GRUB needs is in its core, the configuration too: it looks for no file of its own. The kernel is told
// "nohz=off highres=off", since an emulated processor loses a single timer once in a while, and then sleeps for ever; a
// periodic one comes again.
const modules = ["part_msdos", "ext2", "search_label", "linux", "boot"];

/**
 * A disk of zeros that takes no room.
 * @param {string} disk
 */
export function createDisk(disk) {
  const file = openSync(disk, "w");
  ftruncateSync(file, diskBytes);
  closeSync(file);
}

/**
 * @param {string} disk
 * @param {string} folder for what comes up in between
 */
export async function writeBootSectors(disk, folder) {
  const core = await makeCore(folder, "i386-pc", ["biosdisk"]);
  const first = readFileSync("/usr/lib/grub/i386-pc/boot.img");
  // GRUB's first sector loads its core from the sector after it, unless it is told otherwise: so no set-up is needed.
  const head = Buffer.concat([first, core]);
  if (first.length !== sectorBytes || head.length > efiPartition.startBytes)
    throw new Error(
      `Writing GRUB before the first partition: it has ${head.length} bytes, which does not fit.`,
    );
  head.fill(0, partitionTable, partitionTable + 4 * 16); // of no use on a disk: GRUB has code for floppies there
  for (const [index, partition] of [efiPartition, rootPartition].entries())
    describePartition(partition).copy(head, partitionTable + 16 * index);
  head.writeUInt16LE(0xaa55, 510);
  writeAt(disk, head, 0);
}

/**
 * @param {string} disk
 * @param {string} folder for what comes up in between
 */
export async function writeEfiPartition(disk, folder) {
  const volume = join(folder, "efi.fat");
  const program = join(folder, "efi.program");
  writeFileSync(program, await makeCore(folder, "x86_64-efi", ["fat"]));
  const sectors = String(efiPartition.sizeBytes / sectorBytes);
  await run("mformat", ["-C", "-i", volume, "-T", sectors, "::"]);
  await run("mmd", ["-i", volume, "::/EFI", "::/EFI/BOOT"]);
  await run("mcopy", ["-i", volume, program, "::/EFI/BOOT/BOOTX64.EFI"]);
  writeAt(disk, readFileSync(volume), efiPartition.startBytes);
}

/**
 * @param {string} folder
 * @param {string} format
 * @param {readonly string[]} moreModules
 */
async function makeCore(folder, format, moreModules) {
  const core = join(folder, `${format}.core`);
  const options = ["-O", format, "-p", "/boot/grub", "-c", recipePath("boot/grub.cfg"), "-o", core];
  await run("grub-mkimage", [...options, ...modules, ...moreModules]);
  return readFileSync(core);
}

/** @param {{ type: number, startBytes: number, sizeBytes: number }} partition */
function describePartition({ type, startBytes, sizeBytes }) {
  // Addresses by cylinder, head and sector are long since ignored; these say "look at the other numbers".
  const entry = Buffer.from([0, 0xfe, 0xff, 0xff, type, 0xfe, 0xff, 0xff]);
  const numbers = Buffer.alloc(8);
  numbers.writeUInt32LE(startBytes / sectorBytes, 0);
  numbers.writeUInt32LE(sizeBytes / sectorBytes, 4);
  return Buffer.concat([entry, numbers]);
}

/**
 * @param {string} file
 * @param {Buffer} content
 * @param {number} position
 */
function writeAt(file, content, position) {
  const handle = openSync(file, "r+");
  writeSync(handle, content, 0, content.length, position);
  closeSync(handle);
}
