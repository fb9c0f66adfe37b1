import { setTimeout as delay } from "node:timers/promises";
import { CancelledError, TimeoutError } from "./errors";

/** The longest that a timer of Node's can wait, 24.8 days: one that is given more ends at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Waits, however long, or rejects as soon as the signal is aborted. */
export async function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  throwIfAborted(signal);
  try {
    let leftMs = milliseconds;
    for (; leftMs > LONGEST_TIMER_MS; leftMs -= LONGEST_TIMER_MS)
      await delay(LONGEST_TIMER_MS, undefined, { signal });
    await delay(leftMs, undefined, { signal });
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  }
}

/** The abort's own reason, so that a deadline is told from a cancel. */
export function throwIfAborted(signal: AbortSignal): void {
  if (!signal.aborted) return;
  throw signal.reason instanceof TimeoutError || signal.reason instanceof CancelledError
    ? signal.reason
    : new CancelledError();
}

/** Runs `work` under a signal that also aborts after a time, with an error that says what was not finished. */
export async function withDeadline<T>(
  what: string,
  milliseconds: number | undefined,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (milliseconds === undefined) return work(signal);
  throwIfAborted(signal);
  const controller = new AbortController();
  const stop = (): void => controller.abort(signal.reason);
  signal.addEventListener("abort", stop);
  const done = new AbortController();
  void sleep(milliseconds, done.signal).then(
    () => controller.abort(new TimeoutError(`${what}: not finished in time`)),
    () => undefined, // done before
  );
  try {
    return await work(controller.signal);
  } catch (error) {
    throwIfAborted(controller.signal);
    throw error;
  } finally {
    done.abort();
    signal.removeEventListener("abort", stop);
  }
}

/** Repeats `attempt` until it succeeds, `isRetryable` says no, or the time is over; the last error is thrown. */
export async function retryFor<T>(
  milliseconds: number,
  intervalMs: number,
  signal: AbortSignal,
  isRetryable: (error: unknown) => boolean,
  attempt: () => Promise<T>,
): Promise<T> {
  const end = Date.now() + milliseconds;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      throwIfAborted(signal);
      if (!isRetryable(error) || Date.now() + intervalMs > end) throw error;
    }
    await sleep(intervalMs, signal);
  }
}
