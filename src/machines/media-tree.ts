/** The folders of a medium, made from the names of its files. */
import * as fs from "node:fs";
import { open } from "node:fs/promises";
import type { MediaFile } from "./media";

export interface TreeFile {
  name: string;
  sizeBytes: number;
  isExecutable: boolean;
  source: MediaFile;
}

export interface TreeFolder {
  name: string;
  folders: TreeFolder[];
  files: TreeFile[];
}

const CHUNK_BYTES = 1024 * 1024;

/** Everything sorted by name, so that the order in which files were listed leaves no trace in an image. */
export async function buildTree(files: readonly MediaFile[]): Promise<TreeFolder> {
  const root: TreeFolder = { name: "", folders: [], files: [] };
  for (const file of [...files].sort((a, b) => compareNames(a.name, b.name))) {
    const parts = file.name.replace(/\/$/, "").split("/");
    const problem = parts.map(findNameProblem).find((reason) => reason !== undefined);
    if (problem) throw new Error(`Putting ${JSON.stringify(file.name)} on a medium: ${problem}`);
    const folderNames = file.name.endsWith("/") ? parts : parts.slice(0, -1);
    const folder = folderNames.reduce((parent, name) => enterFolder(parent, name, file.name), root);
    if (!file.name.endsWith("/")) await addFile(folder, parts.at(-1) ?? "", file);
  }
  return root;
}

/** All folders, each before those in it. */
export function listFolders(root: TreeFolder): TreeFolder[] {
  return [root, ...root.folders.flatMap(listFolders)];
}

/** A file's bytes; throws if there are not as many as there were when the tree was made. */
export async function* readContent(file: TreeFile): AsyncGenerator<Buffer> {
  if ("content" in file.source) {
    yield file.source.content;
    return;
  }
  const handle = await open(file.source.path);
  try {
    let readBytes = 0;
    for await (const chunk of handle.createReadStream({ highWaterMark: CHUNK_BYTES, autoClose: false })) {
      readBytes += (chunk as Buffer).length;
      if (readBytes > file.sizeBytes) break;
      yield chunk as Buffer;
    }
    if (readBytes !== file.sizeBytes)
      throw new Error(
        `Putting ${file.source.path} on a medium: its size changed from ${file.sizeBytes} bytes while it was read. Try again when nothing changes it.`,
      );
  } finally {
    await handle.close();
  }
}

/** By code units: the same on every machine. */
export function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function findNameProblem(name: string): string | undefined {
  if (name === "" || name === "." || name === "..") return 'its path has an empty part, "." or "..".';
  if (name.includes("\0")) return "a name cannot hold a zero byte.";
  const sizeBytes = Buffer.byteLength(name);
  return sizeBytes > 255 ? `a name of ${sizeBytes} bytes is longer than 255. Shorten it.` : undefined;
}

function enterFolder(parent: TreeFolder, name: string, whole: string): TreeFolder {
  const known = parent.folders.find((folder) => folder.name === name);
  if (known) return known;
  if (parent.files.some((file) => file.name === name)) throw new ClashError(whole, name);
  const folder: TreeFolder = { name, folders: [], files: [] };
  parent.folders.push(folder);
  return folder;
}

async function addFile(folder: TreeFolder, name: string, source: MediaFile): Promise<void> {
  const isTaken = [...folder.files, ...folder.folders].some((other) => other.name === name);
  if (isTaken) throw new ClashError(source.name, name);
  if ("content" in source) {
    folder.files.push({ name, sizeBytes: source.content.length, isExecutable: false, source });
    return;
  }
  const stats = await fs.promises.stat(source.path);
  if (!stats.isFile()) throw new Error(`Putting ${source.path} on a medium: it is not a file.`);
  folder.files.push({ name, sizeBytes: stats.size, isExecutable: (stats.mode & 0o111) !== 0, source });
}

class ClashError extends Error {
  constructor(whole: string, name: string) {
    super(`Putting ${JSON.stringify(whole)} on a medium: there are two of the name "${name}". Rename one.`);
  }
}
