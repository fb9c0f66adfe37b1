/**
 * Unfinished images lie beside where they will be. Their paths are written down before they are begun, in the user's state
 * folder and under the name of the build's machine, so that who sweeps up after a killed build finds them.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { stateFolder } from "../../core/folders";

/** Absolute paths, added to those that were noted before. */
export function noteDrafts(machineName: string, files: readonly string[]): void {
  const note = noteOf(machineName);
  fs.mkdirSync(path.dirname(note), { recursive: true, mode: 0o700 });
  const lines = files.map((file) => `${file}\n`).join("");
  fs.appendFileSync(note, lines, { mode: 0o600, flush: true });
}

/** Removes what is still unfinished of a build, and forgets it. */
export function removeDrafts(machineName: string): void {
  const note = noteOf(machineName);
  if (!fs.existsSync(note)) return;
  // The last line is empty, or was cut while it was written: then there is no such file yet.
  for (const file of fs.readFileSync(note, "utf8").split("\n").slice(0, -1)) {
    fs.rmSync(file, { force: true });
    removeIfEmpty(path.dirname(file));
  }
  fs.rmSync(note, { force: true });
}

/** What keeps an empty folder: somebody put something in, it is a mount, or not ours to remove. */
const FOLDER_STAYS = ["ENOENT", "ENOTEMPTY", "EEXIST", "EBUSY", "EACCES", "EPERM", "EROFS"];

/** A folder that was made for images goes with the last one. */
export function removeIfEmpty(folder: string): void {
  try {
    if (fs.readdirSync(folder).length === 0) fs.rmdirSync(folder);
  } catch (error) {
    if (!FOLDER_STAYS.includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

function noteOf(machineName: string): string {
  return path.join(stateFolder(), "qemu", "drafts", machineName);
}
