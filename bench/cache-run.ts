/**
 * A provider process of several builds of one image, one after the other: reads their arguments (and the resource's `type`,
 * which is Docker's by default), runs `check` and `create`
 * (or, where no rebuild follows, `update`) as the engine would, prints the times, and deletes what it made.
 */
import * as fs from "node:fs";
import * as provider from "../src/provider";
import { waitUntilClean } from "../src/provider/cancel";
import { recall } from "../src/provider/memory";
import type { Inputs, State } from "../src/provider/state";

const URN = "urn:pulumi:bench::bench::pulumi-nodejs:dynamic/kiln/bench:Image::cache";

/** One run of the program: its arguments, and what it took. */
export interface CacheRun {
  milliseconds: number;
  isUpdate: boolean;
  /** Of what was pushed, `repository@sha256:…`. */
  pinned: string;
  /** Its log has the times of all steps. */
  buildId: string;
}

async function main(): Promise<void> {
  const programs = JSON.parse(fs.readFileSync(process.argv[2] ?? "", "utf8")) as Record<string, unknown>[];
  const hidden = {
    stateVersion: 1,
    urn: URN,
    from: "",
    project: "bench",
    stack: "bench",
    secretOptions: [],
    retain: false,
  };
  const runs: CacheRun[] = [];
  const made: { id: string; outs: State }[] = [];
  let olds: Partial<Inputs> = {};
  for (const { type = "docker:Image", ...program } of programs) {
    const __kiln = { ...hidden, type: type as string };
    const { inputs, failures } = await provider.check(olds, { ...program, __kiln });
    if (failures || !inputs) throw new Error(JSON.stringify(failures));
    const last = made.at(-1);
    const isUpdate = last !== undefined && last.outs.fingerprint === inputs.fingerprint;
    const startedAt = performance.now();
    if (isUpdate) last.outs = (await provider.update(last.id, last.outs, inputs)).outs;
    else made.push(await provider.create(inputs));
    const milliseconds = performance.now() - startedAt;
    await waitUntilClean();
    const state = made.at(-1)?.outs;
    const pinned = typeof state?.["pinnedReference"] === "string" ? state["pinnedReference"] : "";
    runs.push({ milliseconds, isUpdate, pinned, buildId: state?.buildId ?? "" });
    olds = inputs;
  }
  // As in a process that destroys: nothing is declared.
  Object.assign(recall(URN), { checked: false, planned: [] });
  for (const { id, outs } of made) await provider.delete(id, outs);
  process.stdout.write(JSON.stringify(runs));
}

void main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(1);
  },
);
