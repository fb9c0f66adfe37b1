/** Programs by others that read CDs and floppies: what they read is what our own writers wrote. */
import { installPackages } from "./apt.mjs";
import { findProgram } from "./command.mjs";

const searchPath = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;
/** By their Debian packages. */
const programs = { xorriso: "xorriso", isoinfo: "genisoimage", mcopy: "mtools", "fsck.fat": "dosfstools" };

/**
 * Finds them, or installs them.
 * @returns {Promise<string>} their names
 */
export async function findMediaReaders() {
  const missing = Object.entries(programs).filter(([name]) => !findProgram(name, searchPath));
  if (missing.length > 0) {
    const packages = missing.map(([, name]) => name);
    await installPackages(packages, `Install ${packages.join(", ")}.`);
  }
  return Object.keys(programs).join(" ");
}
