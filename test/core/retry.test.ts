import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDuration } from "../../src/core/duration";
import { TimeoutError } from "../../src/core/errors";
import { LONGEST_TIMER_MS, sleep, withDeadline } from "../../src/core/retry";

const never = new AbortController().signal;

test("a wait and a deadline may be longer than one timer can be", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const lengthMs = parseDuration("60d");
  const ended: string[] = [];
  const waiting = sleep(lengthMs, never).then(() => ended.push("sleep"));
  const limited = withDeadline("Building app", lengthMs, never, waitForAbort).catch((error: unknown) =>
    ended.push(error instanceof TimeoutError ? "deadline" : String(error)),
  );
  const pass = async (milliseconds: number): Promise<void> => {
    t.mock.timers.tick(milliseconds);
    await new Promise(setImmediate); // a timer that follows on one that ended is set now
  };
  await pass(LONGEST_TIMER_MS);
  await pass(LONGEST_TIMER_MS);
  await pass(lengthMs - 2 * LONGEST_TIMER_MS - 1);
  assert.deepEqual(ended, []);
  await pass(1);
  await Promise.all([waiting, limited]);
  assert.deepEqual(ended.sort(), ["deadline", "sleep"]);
});

function waitForAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) =>
    signal.addEventListener("abort", () => reject(signal.reason as Error)),
  );
}
