/** `node histories-run.js <count> <seed>`: a share of the histories, in a process of its own. Prints the shortest that breaks a rule. */
import * as fc from "fast-check";
import { action, live } from "./histories";

async function main(): Promise<void> {
  const [count, seed] = process.argv.slice(2).map(Number);
  const histories = fc.asyncProperty(fc.array(action, { maxLength: 8 }), live);
  await fc.assert(histories, { numRuns: count, seed, includeErrorInReport: true });
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  },
);
