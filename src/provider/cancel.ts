/**
 * How the user's Ctrl-C reaches a build. The engine sends a Cancel call, which the host of dynamic providers answers
 * without telling anybody; it is seen on its way in. The engine's death shows at the end of standard input.
 */
import { setMaxListeners } from "node:events";
import * as fs from "node:fs";
import { CancelledError } from "../core/errors";

const CANCEL_PATH = "/pulumirpc.ResourceProvider/Cancel";

interface StreamServer {
  constructor: { name: string };
  prependListener(
    event: "stream",
    listener: (stream: unknown, headers: Record<string, string>) => void,
  ): void;
}

const controller = new AbortController();
setMaxListeners(0, controller.signal);
let running = 0;
let watching = false;

/** Aborted when the user cancels, or the engine is gone. Runs `work` so that a signal to this process waits for its undos, and for those that earlier answers did not wait for. */
export async function cancellable<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  watch();
  running++;
  try {
    return await work(controller.signal);
  } finally {
    running--;
    if (running === 0 && exitWanted) exitWhenClean(1);
  }
}

let exitWanted = false;

function watch(): void {
  if (watching) return;
  watching = true;
  watchCancelCalls();
  // Cancel and SIGINT come at the end of every run too: with nothing under way the process ends at once, as it would have.
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.on(signal, () => stop(`stopped by ${signal}`, running === 0));
  if (isPipe(0)) watchEngine();
  process.stdout.on("error", () => undefined); // nobody reads any more
}

/** The engine holds the other end of our input: a file, a terminal or nothing there says nothing about it. */
function watchEngine(): void {
  const ended = (): void => stop("Pulumi's engine has ended", false);
  process.stdin.on("end", ended).on("error", ended).resume();
  process.stdin.unref?.();
}

function isPipe(descriptor: number): boolean {
  const stat = fs.fstatSync(descriptor);
  return stat.isFIFO() || stat.isSocket();
}

const cleanings = new Set<Promise<void>>();

/** What an answer did not wait for (a build's machine on its way out); the end of the process does. */
export function trackCleaning(cleaning: Promise<void>): void {
  const tracked: Promise<void> = cleaning.finally(() => cleanings.delete(tracked));
  cleanings.add(tracked);
}

export async function waitUntilClean(): Promise<void> {
  await Promise.all(cleanings);
}

/** Each undo has a deadline of its own, so that this comes to an end. */
function exitWhenClean(code: number): void {
  if (cleanings.size === 0) process.exit(code);
  void waitUntilClean().finally(() => process.exit(code));
}

function stop(reason: string, exitNow: boolean): void {
  if (exitNow) return exitWhenClean(0);
  exitWanted = true;
  controller.abort(new CancelledError(reason));
}

function watchCancelCalls(): void {
  const handles = (process as unknown as { _getActiveHandles(): StreamServer[] })._getActiveHandles();
  for (const server of handles.filter((handle) => handle.constructor.name === "Http2Server")) {
    server.prependListener("stream", (_stream, headers) => {
      if (headers[":path"] === CANCEL_PATH) controller.abort(new CancelledError("cancelled"));
    });
  }
}
