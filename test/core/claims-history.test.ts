import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import * as os from "node:os";
import * as path from "node:path";
import { test } from "node:test";
import * as fc from "fast-check";
import { describeWorld, makeWorld } from "../platforms/docker/provider-run";
import { SEED } from "../support/seed";
import { Deployment, live, PLAIN, type Action, type Up } from "./histories";

/** On a laptop a sample: all of them take minutes. */
const HISTORIES = process.env["CI"] === "true" ? 10_000 : 500;

test("whatever happens to three images of two stacks, none that is needed goes, and none is left", async () => {
  const shares = os.availableParallelism();
  const runs = Array.from({ length: shares }, (_, index) =>
    run([String(Math.ceil(HISTORIES / shares)), String(SEED + index)]),
  );
  assert.deepEqual(
    (await Promise.all(runs)).filter((text) => text !== ""),
    [],
  );
});

const up = { kind: "up", of: 0, ...PLAIN } as const;

const BROKE_EARLIER_RULES: [what: string, history: Action[]][] = [
  [
    "refresh drops what was removed by hand; what was kept beside it is found by the next create",
    [
      { ...up, version: "a" },
      { ...up, version: "b" },
      { kind: "remove by hand", of: 0 },
    ],
  ],
  [
    "a foreign container uses the replaced image; its last name is one that a post-processor gave",
    [
      { ...up, version: "a" },
      { kind: "use", of: 0 },
      { ...up, version: "b", dependentFails: true },
      { kind: "destroy", of: 0 },
    ],
  ],
];

for (const [what, history] of BROKE_EARLIER_RULES) test(`nothing is left: ${what}`, () => live(history));

/** What a share of the histories says of itself: nothing if all is well. */
function run(args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [path.join(__dirname, "histories-run.js"), ...args], {
      stdio: ["ignore", "ignore", "pipe"],
      // A child of the test runner would report to it.
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    });
    let text = "";
    child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
    child.on("error", reject);
    child.on("close", (code) => resolve(code === 0 ? "" : text || `ended with ${code}`));
  });
}

const calmUp: fc.Arbitrary<Up> = fc.record({
  version: fc.constantFrom("a", "b", "c", "d"),
  keep: fc.constant(1),
  isDone: fc.constant(false),
  dependentFails: fc.boolean(),
  newestFirst: fc.boolean(),
});

/** A version; "-" where what depends on it fails. */
function readUp(text: string): Up {
  const [version = ""] = text;
  return { version, keep: 1, isDone: false, dependentFails: text.endsWith("-"), newestFirst: false };
}

test("going back to one of the versions that served last takes no build, whatever failed between", async () => {
  const history = fc.record({
    keep: fc.integer({ min: 0, max: 2 }),
    ups: fc.array(calmUp, { maxLength: 8 }),
  });
  await fc.assert(
    fc.asyncProperty(history, async ({ keep, ups }) => {
      const world = makeWorld();
      const before = describeWorld(world);
      const deployment = new Deployment(world, "calm", "app");
      /** What served, the last one first. */
      let served: { version: string; image: string }[] = [];
      for (const up of ups) {
        await deployment.up({ ...up, keep });
        const image = deployment.current?.outs.artifactId ?? "";
        const known = served.slice(0, keep + 1).find(({ version }) => version === up.version);
        if (known) assert.equal(image, known.image, `${up.version} was built again`);
        if (deployment.pending.length > 0) continue;
        served = [{ version: up.version, image }, ...served.filter(({ version }) => version !== up.version)];
      }
      await deployment.destroy();
      assert.deepEqual(describeWorld(world), before);
    }),
    {
      numRuns: 200,
      includeErrorInReport: true,
      examples: [
        // The one that served was made again by a try that failed: both go at once, and its image stays.
        [{ keep: 1, ups: ["c", "a-", "c-", "a", "c"].map(readUp) }],
      ],
    },
  );
});
