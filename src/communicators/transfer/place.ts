/** Puts what was fetched where it belongs, when all of it has come. */
import { randomBytes } from "node:crypto";
import type { Stats } from "node:fs";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { joinBytes, type Unpacked } from "./unpack";

/** Where to: an absolute path; with `folder` what is fetched goes into it. */
export interface Place {
  local: string;
  folder: boolean;
}

/** Gives `receive` a new folder on the same disk, and moves from there what it says that it has put in. */
export async function fetchInto(
  { local, folder }: Place,
  receive: (stage: string) => Promise<Unpacked[]>,
): Promise<void> {
  const home = folder ? local : path.dirname(local);
  await fs.mkdir(home, { recursive: true });
  const stage = path.join(home, `.kiln-${randomBytes(8).toString("hex")}`);
  await fs.mkdir(stage, { mode: 0o700 });
  try {
    const found = await receive(stage);
    if (folder) await placeAll(found, stage, local);
    else await placeFile(found, stage, local);
  } finally {
    await fs.rm(stage, { recursive: true, force: true });
  }
}

async function placeFile(found: readonly Unpacked[], stage: string, local: string): Promise<void> {
  const [only] = found;
  if (found.length !== 1 || only?.kind !== "file") throw new Error("it is no file");
  const file = joinBytes(stage, only.name);
  await fs.chmod(file, only.mode & 0o777);
  await fs.rename(file, local);
}

/** Moves what was unpacked to where it belongs, below a folder that is there; modes come last, from the innermost. */
async function placeAll(found: readonly Unpacked[], from: string, to: string): Promise<void> {
  for (const { kind, name } of found) {
    const path = joinBytes(to, name);
    // A folder may be reached through a link; a link itself is replaced like a file.
    const there = await findStats(path, kind === "directory" ? fs.stat : fs.lstat);
    if (there && there.isDirectory() !== (kind === "directory"))
      throw new Error(`${path.toString()} is there, and ${there.isDirectory() ? "a" : "no"} folder`);
  }
  const made: Unpacked[] = [];
  for (const entry of found) {
    const path = joinBytes(to, entry.name);
    if (entry.kind !== "directory") {
      if (entry.kind === "file") await restore(entry, joinBytes(from, entry.name));
      await fs.rename(joinBytes(from, entry.name), path);
    } else if (!(await findStats(path, fs.stat))) {
      await fs.mkdir(path);
      made.push(entry);
    }
  }
  for (const entry of made.reverse()) await restore(entry, joinBytes(to, entry.name));
}

async function restore({ mode, mtime }: Unpacked, path: Buffer): Promise<void> {
  await fs.utimes(path, mtime, mtime);
  await fs.chmod(path, mode);
}

async function findStats(path: Buffer, look: (path: Buffer) => Promise<Stats>): Promise<Stats | undefined> {
  try {
    return await look(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
