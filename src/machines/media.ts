/** Files that go onto a CD, a floppy or a seed, chosen by Packer's rules. */
import * as fs from "node:fs";
import * as path from "node:path";
import { findMatches, isPattern } from "./glob";

/** A file on a medium. A name that ends in "/" is an empty folder. */
export type MediaFile =
  | { name: string /** Path on the medium, "/" separated. */; content: Buffer }
  | { name: string; path: string /** Local file. */ };

/**
 * Files for a CD: a file goes to the root, a folder with all that is in it too, under its own name unless its path ends
 * in "/". Patterns (`*`, `?`, `[a-z]`) as in Packer's `cd_files`; unlike there, one that matches nothing is an error. Links are followed.
 * Of two with the same name the later counts; `content`, by name, counts more than files.
 */
export async function listMediaFiles(
  paths: readonly string[],
  content: Record<string, string>,
  cwd: string,
): Promise<MediaFile[]> {
  const files: MediaFile[] = [];
  for (const given of paths) {
    for (const found of await expandPath(given, cwd)) {
      const base = /(^|\/)\.?$/.test(found) ? "" : path.basename(path.resolve(cwd, found));
      files.push(...(await listTree(path.resolve(cwd, found), base, [])));
    }
  }
  return dropReplaced([...files, ...listContent(content)]);
}

/** Files for a floppy by the rules of Packer's `floppy_files`: as `listMediaFiles`, but all go to the root, from whatever folder. */
export async function listFlatMediaFiles(
  paths: readonly string[],
  content: Record<string, string>,
  cwd: string,
): Promise<MediaFile[]> {
  const files = (await listMediaFiles(paths, {}, cwd)).filter((file) => !file.name.endsWith("/"));
  const flat = files.map((file) => ({ ...file, name: path.posix.basename(file.name) }));
  return dropReplaced([...flat, ...listContent(content)]);
}

function listContent(content: Record<string, string>): MediaFile[] {
  return Object.entries(content).map(([name, text]) => ({
    name: name.replace(/^\/+/, ""),
    content: Buffer.from(text),
  }));
}

async function expandPath(given: string, cwd: string): Promise<string[]> {
  const plain = process.platform === "win32" ? given.replaceAll("\\", "/") : given;
  if (!isPattern(plain)) return [plain];
  const found = await findMatches(plain, cwd);
  if (found.length === 0)
    throw new Error(`Listing the files for a medium: nothing matches "${given}" in ${cwd}.`);
  return found;
}

/** `parents`: real paths of the folders that lead here, since a link may lead back to one of them. */
async function listTree(local: string, name: string, parents: readonly string[]): Promise<MediaFile[]> {
  const stats = await statOf(local);
  if (stats.isFile()) return [{ name: name === "" ? path.basename(local) : name, path: local }];
  if (!stats.isDirectory())
    throw new Error(`Listing the files for a medium: ${local} is neither a file nor a folder. Leave it out.`);
  const real = await fs.promises.realpath(local);
  if (parents.includes(real))
    throw new Error(
      `Listing the files for a medium: ${local} is a link that leads back to ${real}. Remove it.`,
    );
  const entries = (await fs.promises.readdir(local)).sort((a, b) => (a < b ? -1 : 1));
  if (entries.length === 0 && name !== "") return [{ name: `${name}/`, content: Buffer.alloc(0) }];
  const files: MediaFile[] = [];
  for (const entry of entries) {
    const entryName = name === "" ? entry : `${name}/${entry}`;
    files.push(...(await listTree(path.join(local, entry), entryName, [...parents, real])));
  }
  return files;
}

async function statOf(local: string): Promise<fs.Stats> {
  try {
    return await fs.promises.stat(local);
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const reason = isMissing ? "it does not exist. Is the path right?" : (error as Error).message;
    throw new Error(`Reading ${local} for a medium: ${reason}`, { cause: error });
  }
}

function dropReplaced(files: readonly MediaFile[]): MediaFile[] {
  return [...new Map(files.map((file) => [file.name, file])).values()];
}
