import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { check, create, diff, read, remove, update } from "../../src/rollout/switch";
import { RuntimeApi } from "../../src/rollout/switch/runtime-api";
import { SocketTransport } from "../../src/rollout/switch/runtime-transport";
import type { SwitchInputs, SwitchState } from "../../src/rollout/switch/state";
import { UNKNOWN } from "../../src/core/schema";
import { never } from "../support/docker";
import { missingHaproxy, startHaproxy, startProgram, type HaproxyProcess } from "../support/haproxy";

const skip = missingHaproxy();
const URN = "urn:pulumi:test::p::pulumi-nodejs:dynamic/kiln/rollout:HaproxySwitch::api";

interface World {
  proxy: HaproxyProcess;
  inputs(version: string, ports: number[], changes?: Partial<SwitchInputs>): SwitchInputs;
  start(name: string): Promise<number>;
  ask(command: string): Promise<string>;
  whoAnswers(): Promise<string>;
}

async function open(t: TestContext, strangers = ""): Promise<World> {
  const proxy = await startHaproxy(strangers);
  t.after(() => proxy.stop());
  const api = new RuntimeApi(new SocketTransport(proxy.runtimeApi, { path: proxy.runtimeApi.slice(7) }));
  return {
    proxy,
    inputs: (version, ports, changes = {}) => ({
      proxy: { runtimeApi: proxy.runtimeApi, map: proxy.map, key: "live", backends: ["blue", "green"] },
      servers: ports.map((port) => ({ name: `at-${port}`, address: "127.0.0.1", port })),
      version,
      health: { interval: "1s", passes: 2 },
      __kiln: { type: "rollout:HaproxySwitch", stateVersion: 1, urn: URN, from: "." },
      ...changes,
    }),
    async start(name) {
      const program = await startProgram(name);
      t.after(() => program.stop());
      return program.port;
    },
    ask: async (command) => (await api.ask("@1 ", [command], never))[0] ?? "",
    whoAnswers: async () => (await fetch(proxy.url, { headers: { connection: "close" } })).text(),
  };
}

async function isChanged(
  id: string,
  state: SwitchState,
  news: SwitchInputs,
  dryRun = false,
): Promise<boolean | undefined> {
  const checked = await check({}, { ...news, __kiln: { ...news.__kiln, dryRun } });
  return (await diff(id, state, checked)).changes;
}

test(
  "the life of a switch: made, unchanged, changed by hand, moved on, taken over, removed",
  { skip },
  async (t) => {
    const world = await open(t);
    const first = world.inputs("1", [await world.start("one")]);
    const made = await create(first);
    assert.equal(made.outs.active, "blue");
    assert.equal(await world.whoAnswers(), "one");
    assert.equal(await isChanged(made.id, made.outs, first), false);
    assert.deepEqual(await read(made.id, made.outs), { id: made.id, props: made.outs });

    // By hand.
    await world.ask(`set map ${world.proxy.map} live green`);
    assert.equal(await isChanged(made.id, made.outs, first), true);
    assert.equal((await read(made.id, made.outs)).props.active, "green");
    const repaired = await update(made.id, made.outs, first);
    assert.equal(await world.whoAnswers(), "one");

    const second = world.inputs("2", [await world.start("two")]);
    assert.equal(await isChanged(made.id, repaired.outs, second), undefined, "the engine compares");
    const moved = await update(made.id, repaired.outs, second);
    assert.equal(await world.whoAnswers(), "two");
    // Going back while the state says that nothing changed: the proxy knows better.
    assert.equal(await isChanged(made.id, repaired.outs, first), true);

    // Replaced: the new one goes on with the same servers, and the old one's delete leaves them.
    const replacement = await create(second);
    await remove(made.id, moved.outs);
    assert.equal(await world.whoAnswers(), "two");
    assert.equal(await isChanged(replacement.id, replacement.outs, second), false);
    // Another resource may not have the key.
    const other = { ...second, __kiln: { ...second.__kiln, urn: `${URN}-other` } };
    await assert.rejects(create(other), /another switch .* has it/);
    await remove(replacement.id, replacement.outs);
    const states =
      (await world.ask("show servers state blue")) + (await world.ask("show servers state green"));
    assert.doesNotMatch(states, /127\.0\.0\.1/);
  },
);

test("servers of others are left alone, and never switched to", { skip }, async (t) => {
  const world = await open(t, "  server old 127.0.0.1:9 check");
  const made = await create(world.inputs("1", [await world.start("one")]));
  assert.equal(made.outs.active, "green");
  const next = world.inputs("2", [await world.start("two")]);
  await assert.rejects(
    update(made.id, made.outs, next),
    /holds servers that this switch did not add \(old\)/,
  );
  await world.ask("set server blue/old state maint");
  const moved = await update(made.id, made.outs, next);
  assert.equal(moved.outs.active, "blue");
  await remove(made.id, moved.outs);
  assert.match(await world.ask("show servers state blue"), / old 127\.0\.0\.1 /);
});

test(
  "a proxy that was restarted has forgotten everything: the next update sees that",
  { skip },
  async (t) => {
    const world = await open(t);
    const inputs = world.inputs("1", [await world.start("one")]);
    const made = await create(inputs);
    await world.proxy.restart();
    assert.equal(await isChanged(made.id, made.outs, inputs), true);
    await update(made.id, made.outs, inputs);
    assert.equal(await world.whoAnswers(), "one");
  },
);

test(
  "without the proxy a preview goes by the state, an update is planned, and a delete succeeds",
  { skip },
  async (t) => {
    const world = await open(t);
    const inputs = world.inputs("1", [await world.start("one")]);
    const made = await create(inputs);
    const runtimeApi = `${world.proxy.runtimeApi}-gone`;
    const gone = { ...inputs, proxy: { ...inputs.proxy, runtimeApi } };
    const state = { ...made.outs, proxy: gone.proxy };
    assert.equal(await isChanged(made.id, state, gone, true), false);
    assert.equal(await isChanged(made.id, state, gone, false), true);
    assert.deepEqual((await read(made.id, state)).props, state);
    await remove(made.id, state);
    await assert.rejects(update(made.id, state, gone), /nothing listens there/);
    // Nor is anything asked where the wish is not known yet.
    assert.equal(await isChanged(made.id, state, { ...gone, version: UNKNOWN }), undefined);
  },
);
