/**
 * A provider process of one create: reads inputs, runs `check` and `create` as the engine would, prints the time of
 * `create`, the process's peak memory and what is to be known to delete the image. With `delete` and that in a file, it
 * deletes images, and their stages, as a destroy would.
 */
import * as fs from "node:fs";
import * as provider from "../src/provider";
import { waitUntilClean } from "../src/provider/cancel";

/** What a create has made. */
export interface Created {
  milliseconds: number;
  peakMegabytes: number;
  made: Awaited<ReturnType<typeof provider.create>>;
}

async function main(): Promise<void> {
  const [, , command, file = ""] = process.argv;
  if (command === "delete") {
    for (const { id, outs } of JSON.parse(fs.readFileSync(file, "utf8")) as Created["made"][])
      await provider.delete(id, outs);
  } else await createOne(command ?? "");
}

async function createOne(file: string): Promise<void> {
  const args = JSON.parse(fs.readFileSync(file, "utf8")) as Record<string, unknown>;
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
  const made = await provider.create(inputs);
  const milliseconds = performance.now() - startedAt;
  const peakMegabytes = process.resourceUsage().maxRSS / 1024;
  await waitUntilClean();
  process.stdout.write(JSON.stringify({ milliseconds, peakMegabytes, made } satisfies Created));
}

void main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(1);
  },
);
