import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { describeError, TimeoutError } from "./errors";
import type { BuildLog, Log } from "./log";
import { throwIfAborted } from "./retry";

/** After an interrupt about five seconds are left; else an undo may take its time. */
const INTERRUPTED_UNDO_MS = 4000;
const UNDO_MS = 60_000;

/** What a unit may use. The only object that is passed around. */
export interface BuildContext {
  readonly buildId: string;
  /** The resource's name. */
  readonly name: string;
  /** The platform, e.g. "docker". */
  readonly platform: string;
  /** The program's folder: relative paths in options start here. */
  readonly cwd: string;
  /** Aborted when the user cancels, or the build's time is over. */
  readonly signal: AbortSignal;
  readonly log: Log;
  /** A folder of this build's own, removed at its end. */
  readonly tempDir: string;
  /** The values of the resource's `secrets`. */
  readonly secrets: Readonly<Record<string, string>>;
  /** A secret was interpolated into the units' options: their texts and output are shown nowhere. */
  readonly hideCommands: boolean;
  /** Runs one step of the build, shown and timed. */
  step<T>(title: string, run: () => Promise<T>): Promise<T>;
  /** Counts steps that need not run. */
  skipSteps(count: number): void;
  /**
   * Registers an undo; undos run last-first, on success too unless `when` is "failure"; with "unless-kept" not
   * after a failure of a build whose machine is to be kept (`onError: "abort"`). Call it on the line after the
   * id is known, before waiting for anything. An undo gets a signal of its own: the build's may already be aborted.
   * What is returned begins it at once, beside what follows; after a success nobody needs to wait for its end.
   */
  defer(title: string, undo: (signal: AbortSignal) => Promise<void>, when?: UndoTime): () => void;
}

export type UndoTime = "always" | "failure" | "unless-kept";

export interface ContextOptions {
  buildId: string;
  name: string;
  platform: string;
  cwd: string;
  signal: AbortSignal;
  log: BuildLog;
  secrets: Record<string, string>;
  hideCommands: boolean;
  /** Keep the machine after a failure; a cancel removes it all the same. */
  keepOnFailure?: boolean;
  /** Gets the end of the undos after a success, if one was begun early; without this, the result waits for them. */
  onCleaning?: (done: Promise<void>) => void;
  /** How many steps the display counts to. */
  steps: number;
}

interface Undo {
  title: string;
  undo: (signal: AbortSignal) => Promise<void>;
  when: UndoTime;
  /** It was begun before the end. */
  begun?: Promise<void>;
}

/** Removes the folder of a build that died. */
export async function removeTempFolders(buildId: string): Promise<void> {
  const prefix = nameTempFolder(buildId);
  for (const name of await fs.readdir(os.tmpdir()))
    if (name.startsWith(prefix)) await fs.rm(path.join(os.tmpdir(), name), { recursive: true, force: true });
}

function nameTempFolder(buildId: string): string {
  return `kiln-${buildId}-`;
}

/** Runs `work` with a context of its own; its undos have run and its folder is gone when this returns, or `onCleaning` tells when. */
export async function withContext<T>(
  options: ContextOptions,
  work: (context: BuildContext) => Promise<T>,
): Promise<T> {
  const { log } = options;
  const undos: Undo[] = [];
  const tempDir = await fs.mkdtemp(path.join(os.tmpdir(), nameTempFolder(options.buildId)));
  let step = 0;
  const context: BuildContext = {
    ...options,
    tempDir,
    async step(title, run) {
      throwIfAborted(options.signal);
      const startedAt = Date.now();
      log.startStep(++step, Math.max(step, options.steps), title);
      try {
        const result = await run();
        log.endStep(title, Date.now() - startedAt);
        return result;
      } catch (error) {
        log.endStep(title, Date.now() - startedAt, describeError(error));
        throw error;
      }
    },
    skipSteps(count) {
      step += count;
    },
    defer(title, undo, when = "always") {
      const entry: Undo = { title, undo, when };
      undos.push(entry);
      return () => {
        entry.begun ??= runUndo(log, entry, options.signal);
      };
    },
  };
  const clean = async (failed: boolean): Promise<void> => {
    const isCancelled = options.signal.aborted && !(options.signal.reason instanceof TimeoutError);
    const kept = failed && options.keepOnFailure && !isCancelled;
    for (const entry of undos.reverse()) {
      const isDue = entry.when === "always" || (entry.when === "failure" ? failed : !kept);
      if (isDue) await (entry.begun ?? runUndo(log, entry, options.signal));
    }
    await fs.rm(tempDir, { recursive: true, force: true });
  };
  let result: T;
  try {
    result = await work(context);
  } catch (error) {
    await clean(true);
    throw error;
  }
  const cleaning = clean(false);
  if (options.onCleaning && undos.some((entry) => entry.begun !== undefined)) options.onCleaning(cleaning);
  else await cleaning;
  return result;
}

/** An undo never throws: what it could not do is said, and the rest is undone. */
async function runUndo(log: Log, { title, undo }: Undo, interrupted: AbortSignal): Promise<void> {
  const startedAt = Date.now();
  try {
    await undo(AbortSignal.timeout(interrupted.aborted ? INTERRUPTED_UNDO_MS : UNDO_MS));
    log.info(`${title} (${Date.now() - startedAt}ms)`);
  } catch (error) {
    log.warn(`${title} failed: ${describeError(error)}. It is tried again at the start of the next build.`);
  }
}
