/**
 * The folder of this user that holds what the set-up made, so that the next run finds it.
 * It may be deleted at any time (stop the engine in it first); everything comes back.
 */
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

const startedAtMs = Date.now();

/** Absolute path of the cache, inside the package's own. `KILN_CACHE` names another, for instance to try a fresh machine. */
export const cacheFolder = resolve(
  process.env.KILN_CACHE ||
    join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "pulumi-kiln", "tools"),
);

/**
 * A path inside the cache, whose parent folder exists.
 * @param {...string} names
 */
export function cachePath(...names) {
  const path = join(cacheFolder, ...names);
  mkdirSync(join(path, ".."), { recursive: true });
  return path;
}

/**
 * Tells the person what goes on, with the seconds since the start. On stderr: stdout is for results.
 * @param {string} line
 */
export function say(line) {
  const seconds = Math.round((Date.now() - startedAtMs) / 1000);
  process.stderr.write(`[${String(seconds).padStart(4)} s] ${line}\n`);
}

/**
 * Says what begins, that it still goes on (every half minute), and how long it took.
 * @template T
 * @param {string} title
 * @param {() => Promise<T>} run
 * @returns {Promise<T>}
 */
export async function step(title, run) {
  const startMs = Date.now();
  const seconds = () => `${((Date.now() - startMs) / 1000).toFixed(0)} s`;
  say(`${title} …`);
  const timer = setInterval(() => say(`${title}: still at it after ${seconds()}`), 30_000);
  try {
    const result = await run();
    say(`${title}: done in ${seconds()}`);
    return result;
  } finally {
    clearInterval(timer);
  }
}

/**
 * Runs alone among all processes that use this cache: two runs must not build the same thing at once.
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} run
 * @returns {Promise<T>}
 */
export async function withLock(name, run) {
  const lock = cachePath(`${name}.lock`);
  let told = "";
  for (;;) {
    const holder = takeLock(lock);
    if (holder === undefined) break;
    if (told !== holder)
      say(`Waiting for process ${holder}, which holds ${lock} (not one of ours? Delete the file)`);
    told = holder;
    await wait(500);
  }
  try {
    return await run();
  } finally {
    rmSync(lock, { force: true });
  }
}

/**
 * Takes the lock, or returns the process that has it. The file is linked into place with the process id already in
 * it, so that nobody ever reads an empty lock.
 * @param {string} lock
 */
function takeLock(lock) {
  const draft = `${lock}.${process.pid}`;
  writeFileSync(draft, String(process.pid));
  try {
    linkSync(draft, lock);
    return undefined;
  } catch (error) {
    if (errorCode(error) !== "EEXIST") throw error;
    return breakStaleLock(lock);
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * Removes the lock of a dead process; returns the id of whoever holds the lock now.
 * @param {string} lock
 */
function breakStaleLock(lock) {
  const holder = readIfExists(lock);
  if (holder === undefined) return "that just ended";
  if (isAlive(Number(holder))) return holder;
  // Renaming is atomic: of two processes that break the lock, one moves it and the other finds nothing to move.
  const moved = `${lock}.stale.${process.pid}`;
  try {
    renameSync(lock, moved);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    return holder;
  }
  const broken = readIfExists(moved);
  // Between our look and our move somebody else may have broken it and taken it: give it back.
  if (broken !== holder) linkSync(moved, lock);
  rmSync(moved, { force: true });
  return broken ?? holder;
}

/**
 * Whether a process of this id runs, ours or anybody's.
 * @param {number} processId
 */
export function isAlive(processId) {
  if (!Number.isInteger(processId) || processId <= 0) return false;
  try {
    process.kill(processId, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}

/**
 * The text of a file, or undefined where there is none.
 * @param {string} path
 */
export function readIfExists(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * The code by which Node tells errors of the system apart (`ENOENT`), if the error has one.
 * @param {unknown} error
 * @returns {string | undefined}
 */
export function errorCode(error) {
  return /** @type {{ code?: string }} */ (error)?.code;
}
