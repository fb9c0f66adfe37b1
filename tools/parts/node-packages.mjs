/** The Node packages of this repository and its compiled code. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readIfExists, step } from "./cache.mjs";
import { run } from "./command.mjs";

/** The folder of the checkout. */
export const repositoryFolder = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Runs `npm ci` unless node_modules already holds exactly what the lock file names. */
export async function ensureNodePackages() {
  if (holdsLockedPackages()) return;
  await step("npm ci", () => run("npm", ["ci"], { cwd: repositoryFolder }));
}

function holdsLockedPackages() {
  // npm notes in this hidden lock file what it really put there, so no stamp of our own is needed.
  const installed = readIfExists(join(repositoryFolder, "node_modules/.package-lock.json"));
  if (installed === undefined) return false;
  const present = JSON.parse(installed).packages;
  const locked = JSON.parse(readFileSync(join(repositoryFolder, "package-lock.json"), "utf8")).packages;
  return Object.entries(locked).every(
    ([path, entry]) => path === "" || entry.optional || present[path]?.version === entry.version,
  );
}

/** Compiles src to dist, unless dist is newer than every source. */
export async function ensureBuild() {
  const builtMs = modifiedMs(join(repositoryFolder, "dist/index.js"));
  const sources = ["src", "tsconfig.json", "package-lock.json"].map((name) => join(repositoryFolder, name));
  if (Math.max(...sources.map(newestMs)) < builtMs) return;
  await step("Compiling the package", () => compile("tsconfig.json", ["--noEmitOnError"]));
}

/** Compiles sources, tests and benchmarks to out. */
export async function compileTests() {
  const incremental = ["--incremental", "--tsBuildInfoFile", "out/.tsbuildinfo"];
  await step("Compiling the tests", () => compile("test/tsconfig.json", ["--noEmitOnError", ...incremental]));
}

/**
 * @param {string} project
 * @param {readonly string[]} options
 */
function compile(project, options) {
  const compiler = join(repositoryFolder, "node_modules/typescript/bin/tsc");
  return run(process.execPath, [compiler, "-p", project, ...options], { cwd: repositoryFolder });
}

/**
 * Installs the packages of an example, unless that was done since its package.json last changed.
 * @param {string} folder
 */
export async function ensureExamplePackages(folder) {
  const installedMs = modifiedMs(join(folder, "node_modules/.package-lock.json"));
  if (modifiedMs(join(folder, "package.json")) < installedMs) return;
  await step("npm install for the example", () => run("npm", ["install"], { cwd: folder }));
}

/**
 * When a file, or anything in a folder, last changed. Folders count too: a deleted file changes its folder only.
 * @param {string} path
 * @returns {number}
 */
function newestMs(path) {
  const ownMs = modifiedMs(path);
  if (!statSync(path).isDirectory()) return ownMs;
  return Math.max(ownMs, ...readdirSync(path).map((name) => newestMs(join(path, name))));
}

/**
 * When a file last changed; 0 for one that is not there.
 * @param {string} path
 */
function modifiedMs(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
