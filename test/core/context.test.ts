import assert from "node:assert/strict";
import * as fs from "node:fs";
import { test } from "node:test";
import { runBuild } from "../../src/core/build";
import { inContext } from "../support/context";
import { FakeCommunicator } from "../support/fake-communicator";

test("undos run last-first; those for a failure only after one", async (t) => {
  const undone: string[] = [];
  const undo = (name: string) => () => Promise.resolve(void undone.push(name));
  const work = (fail: boolean) => async (context: Parameters<Parameters<typeof inContext>[1]>[0]) => {
    context.defer("a", undo("a"));
    context.defer("b", undo("b"), "failure");
    context.defer("c", undo("c"), "unless-kept");
    if (fail) throw new Error("no");
    await Promise.resolve();
  };
  await inContext(t, work(false));
  assert.deepEqual(undone.splice(0), ["c", "a"]);
  await assert.rejects(inContext(t, work(true)));
  assert.deepEqual(undone.splice(0), ["c", "b", "a"]);
  await assert.rejects(inContext(t, work(true), { keepOnFailure: true }));
  assert.deepEqual(undone.splice(0), ["b", "a"], "the machine is kept for inspection");
  const signal = AbortSignal.abort();
  await assert.rejects(inContext(t, work(true), { keepOnFailure: true, signal }));
  assert.deepEqual(undone, ["c", "b", "a"], "a cancel keeps nothing");
});

test("an undo that fails is told, and the others still run", async (t) => {
  let last = false;
  const { warnings } = await inContext(t, async (context) => {
    context.defer("removing the key", () => Promise.resolve(void (last = true)));
    context.defer("removing the machine", () => Promise.reject(new Error("the engine said no")));
    await Promise.resolve();
  });
  assert.ok(last);
  assert.match(warnings.join(), /removing the machine failed: the engine said no/);
});

test("the log has each step with its time, and the folder of the build goes", async (t) => {
  let folder = "";
  const { log, updates } = await inContext(t, async (context) => {
    folder = context.tempDir;
    await context.step("first", () => Promise.resolve());
    await assert.rejects(context.step("second", () => Promise.reject(new Error("broke"))));
  });
  assert.match(log, /== step 1 of 1: first\n.*== done: first \(\d+ms\)/);
  assert.match(log, /== failed: second \(\d+ms\): broke/);
  assert.deepEqual(updates, ["1/1 first", "2/2 second"]);
  assert.ok(!fs.existsSync(folder));
});

/** Only has its steps run. */
const builder = {
  async build(_context: unknown, provisioning: { run(machine: FakeCommunicator): Promise<void> }) {
    await provisioning.run(new FakeCommunicator());
    return { kind: "none", id: "", data: {} };
  },
};

test("a step is tried again as often as it asks; the first error is the one that is told", async (t) => {
  let tries = 0;
  const provisioner = { provision: () => Promise.reject(new Error(`try ${++tries}`)) };
  await assert.rejects(
    inContext(
      t,
      async (context) =>
        void (await runBuild(context, builder, [{ title: "x", provisioner, maxRetries: 2 }])),
    ),
    /try 1/,
  );
  assert.equal(tries, 3);
});

test("a step that takes longer than its timeout is stopped, and says so", async (t) => {
  const provisioner = {
    provision: ({ signal }: { signal: AbortSignal }) =>
      new Promise<void>((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason as Error)),
      ),
  };
  await assert.rejects(
    inContext(
      t,
      async (context) =>
        void (await runBuild(context, builder, [{ title: "sleepy", provisioner, timeout: "20ms" }])),
    ),
    /sleepy \(timeout 20ms\): not finished in time/,
  );
});
