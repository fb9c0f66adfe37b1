/**
 * A provider process of one create: reads inputs, runs `check` and `create` as the engine would, prints the time of
 * `create` and the process's peak memory, and deletes what it made.
 */
import * as fs from "node:fs";
import * as provider from "../src/provider";
import { waitUntilClean } from "../src/provider/cancel";

async function main(): Promise<void> {
  const args = JSON.parse(fs.readFileSync(process.argv[2] ?? "", "utf8")) as Record<string, unknown>;
  const urn = "urn:pulumi:bench::bench::pulumi-nodejs:dynamic/kiln/docker:Image::bench";
  const hidden = {
    type: "docker:Image",
    stateVersion: 1,
    urn,
    from: "",
    project: "bench",
    stack: "bench",
    secretOptions: [],
    retain: false,
  };
  const { inputs, failures } = await provider.check({}, { ...args, __kiln: hidden });
  if (failures || !inputs) throw new Error(JSON.stringify(failures));
  const startedAt = performance.now();
  const { id, outs } = await provider.create(inputs);
  const milliseconds = performance.now() - startedAt;
  const peakMegabytes = process.resourceUsage().maxRSS / 1024;
  await waitUntilClean();
  await provider.delete(id, outs);
  process.stdout.write(JSON.stringify({ milliseconds, peakMegabytes }));
}

void main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(1);
  },
);
