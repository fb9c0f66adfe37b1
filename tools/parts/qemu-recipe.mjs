/** What the disk and the installer are made of, and whether one that is there was made of the same. */
import { createHash } from "node:crypto";
import {
  createReadStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { cachePath, readIfExists, step } from "./cache.mjs";

const partsFolder = dirname(fileURLToPath(import.meta.url));

/**
 * The path of a part of the recipe.
 * @param {string} name
 */
export const recipePath = (name) => join(partsFolder, "qemu", name);

/**
 * A folder in the cache that was made by this recipe; made now if it was not, and whole or not there at all.
 * @param {string} name
 * @param {readonly string[]} recipe Files and folders, the code too: a change in them makes it anew.
 * @param {(draft: string) => Promise<void>} make Fills the folder.
 */
export async function ensureMade(name, recipe, make) {
  const folder = cachePath("qemu", name);
  const digest = hashFiles(recipe);
  if (readIfExists(join(folder, "recipe")) === digest) return folder;
  const draft = `${folder}.${process.pid}`;
  mkdirSync(draft);
  try {
    await step(`Making the ${name} for QEMU`, () => make(draft));
    writeFileSync(join(draft, "recipe"), digest);
    rmSync(folder, { recursive: true, force: true });
    renameSync(draft, folder);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
  return folder;
}

/**
 * The SHA-256 of a file of any size, in hexadecimal digits.
 * @param {string} file
 */
export async function hashFile(file) {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}

/** @param {readonly string[]} paths */
function hashFiles(paths) {
  const hash = createHash("sha256");
  // Names from each path on: where the checkout and the cache are makes no difference.
  for (const path of paths) {
    for (const file of listFiles(path)) {
      const content = readFileSync(file);
      hash.update(`${relative(dirname(path), file)}\0${content.length}\0`).update(content);
    }
  }
  return hash.digest("hex");
}

/**
 * @param {string} path
 * @returns {string[]}
 */
function listFiles(path) {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => listFiles(join(path, name)));
}
