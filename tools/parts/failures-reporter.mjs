/** A reporter of Node's test runner: the tests that failed and why, nothing else. */
import { inspect } from "node:util";

/** @typedef {Error & { failureType?: string }} TestError */

/** @param {AsyncIterable<{ type: string, data: { name?: string, file?: string, details?: { error?: TestError } } }>} events */
export default async function* reportFailures(events) {
  for await (const { type, data } of events) {
    const error = data.details?.error;
    if (type !== "test:fail" || error?.failureType === "subtestsFailed") continue;
    yield `\n✖ ${data.name} (${data.file})\n${inspect(error?.cause ?? error)}\n`;
  }
}
