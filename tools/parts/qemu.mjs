/** QEMU: the emulator of a PC, and its tool for disk images. */
import { installPackages } from "./apt.mjs";
import { findProgram } from "./command.mjs";

const programs = ["qemu-system-x86_64", "qemu-img"];

/**
 * Finds QEMU on PATH, or installs it with the firmware of both kinds (BIOS comes with it, UEFI is ovmf).
 * @returns {Promise<string>} the path of qemu-system-x86_64
 */
export async function findQemu() {
  if (programs.some((name) => !findProgram(name))) {
    await installPackages(
      ["qemu-system-x86", "qemu-utils", "ovmf"],
      `Put ${programs.join(" and ")} (QEMU 6.2 or newer) on PATH.`,
    );
  }
  const [emulator] = programs.map((name) => {
    const found = findProgram(name);
    if (!found) throw new Error(`Looking for ${name} after its package was installed: it is not on PATH.`);
    return found;
  });
  return /** @type {string} */ (emulator);
}
