import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

/**
 * Writes a small file for this user alone, with its folder, in one step: who reads at the same time finds the old content or
 * the new. `flush`: it is on the disk before this returns.
 */
export function writeWholeFile(file: string, text: string, { flush = false } = {}): void {
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${randomBytes(6).toString("hex")}.draft`;
  try {
    fs.writeFileSync(draft, text, { mode: 0o600, flush });
    fs.renameSync(draft, file);
  } catch (error) {
    fs.rmSync(draft, { force: true });
    throw error;
  }
}
