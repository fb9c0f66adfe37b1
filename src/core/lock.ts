/** A lock between builds, of this process and of others on this machine: a file that says who holds it. */
import * as fs from "node:fs";
import * as path from "node:path";
import { readCacheFile } from "./cache-file";
import { identifyProcess, isDead, type ProcessIdentity } from "./journal";
import { sleep } from "./retry";

const POLL_MS = 100;
/** How long a holder may take to write its name into the file that it made. */
const WRITING_MS = 10 * POLL_MS;

const TAKEOVER = ".takeover";

/** Held until it is released; `waited` if somebody else had it first. */
export interface HeldLock {
  waited: boolean;
  release(): void;
}

/**
 * Waits until nobody on this machine holds the lock, and takes it. A holder that died is passed over, and one on another
 * machine is not waited for: it cannot be asked. So a lock saves work done twice; it must not be all that keeps data whole.
 */
export async function takeLock(file: string, signal: AbortSignal): Promise<HeldLock> {
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  let waited = false;
  while (!tryLock(file)) {
    if (isAbandoned(file)) removeAbandoned(file);
    else {
      waited ||= readHolder(file) !== undefined;
      await sleep(POLL_MS, signal);
    }
  }
  return { waited, release: () => fs.rmSync(file, { force: true }) };
}

/** Does some work while holding a lock. */
export async function withLock<T>(file: string, signal: AbortSignal, work: () => Promise<T> | T): Promise<T> {
  const lock = await takeLock(file, signal);
  try {
    return await work();
  } finally {
    lock.release();
  }
}

/** Removes locks of a folder whose holders have died. */
export function removeAbandonedLocks(folder: string): void {
  if (!fs.existsSync(folder)) return;
  for (const name of fs.readdirSync(folder)) {
    const file = path.join(folder, name);
    if (!name.endsWith(TAKEOVER) && isAbandoned(file)) removeAbandoned(file);
  }
}

function tryLock(file: string): boolean {
  try {
    fs.writeFileSync(file, JSON.stringify(identifyProcess()), { flag: "wx", mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function isAbandoned(file: string): boolean {
  const holder = readHolder(file);
  return holder ? !isAlive(holder) : isOld(file);
}

/** Of two that find the same dead holder, the slower must not remove the lock that the faster has taken since. */
function removeAbandoned(file: string): void {
  const guard = file + TAKEOVER;
  if (!tryLock(guard)) {
    if (isOld(guard)) fs.rmSync(guard, { force: true });
    return;
  }
  if (isAbandoned(file)) fs.rmSync(file, { force: true });
  fs.rmSync(guard, { force: true });
}

function isAlive(holder: ProcessIdentity): boolean {
  return holder.machine === identifyProcess().machine && !isDead(holder);
}

/** A lock without a holder is that of a process which died between making and writing it. */
function isOld(file: string): boolean {
  const stats = fs.statSync(file, { throwIfNoEntry: false });
  return stats !== undefined && Date.now() - stats.mtimeMs > WRITING_MS;
}

/** Undefined while it is written, and when it has just gone. */
function readHolder(file: string): ProcessIdentity | undefined {
  return readCacheFile<ProcessIdentity>(file);
}
