/** Builds that go wrong, are cancelled or are killed at each call: nothing is left, and the next one succeeds. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { buildAlone, dropAll } from "./build-alone";
import { FakeQemuDriver } from "./fake-driver";
import { FakeQemuWorld } from "./fake-world";
import { abortAt, dieAt, failAt } from "./faults";
import {
  create,
  destroy,
  efi,
  endOwners,
  listImages,
  listLeft,
  mustCreate,
  readJournal,
  resetFolders,
  type Resource,
} from "./provider-run";

const app: Resource = { stack: "s", name: "app", lineage: "0000" };
const MORE_CALLS_THAN_ANY_BUILD = 200;

let world = new FakeQemuWorld();
afterEach(() => world.killAll());

/** Calls `attempt` for n = 1, 2, 3, … until it says that there was no n-th call; the names of the calls that were. */
async function tryEachCall(attempt: (n: number) => Promise<string>): Promise<string[]> {
  const names: string[] = [];
  for (let n = 1; n < MORE_CALLS_THAN_ANY_BUILD; n++) {
    resetFolders();
    world = new FakeQemuWorld();
    const name = await attempt(n);
    if (name === "") return names;
    names.push(name);
  }
  throw new Error(`a build made more than ${MORE_CALLS_THAN_ANY_BUILD} calls`);
}

async function assertNothingRuns(where: string): Promise<void> {
  await world.waitForEnds();
  assert.deepEqual(
    world.listRunning().map(({ spec }) => spec.name),
    [],
    where,
  );
}

async function assertNothingLeft(where: string): Promise<void> {
  await assertNothingRuns(where);
  assert.deepEqual(listLeft(), [], where);
}

/** As many turns as what was under way needs, to wait for something that does not come. */
async function passTurns(): Promise<undefined> {
  for (let turn = 0; turn < 50; turn++) await setImmediate();
  return undefined;
}

function versionOf(n: number): string {
  return n % 2 ? "1" : "2";
}

/** As a build may be: its machine saved and started by UEFI, or its image tested. */
const KINDS: [string, Resource, string[]][] = [
  ["with stages", { ...app, options: { efi } }, ["save"]],
  ["with a test", { ...app, options: { cache: false, bootTest: { commands: ["true"] } } }, []],
];

/** What every build calls. */
const CALLS = [
  "readVersion", "canAccelerate", "inspectDisk", "createOverlay", "startMachine", "connect", "findPort",
  "exec", "upload", "pressPowerButton", "waitUntilEnded", "close", "kill", "convertDisk",
]; // prettier-ignore

for (const [kind, resource, moreCalls] of KINDS)
  for (const isDone of [false, true]) {
    const moment = isDone ? "after it is done" : "before it is done";

    test(`${kind}: a build whose n-th call fails ${moment} leaves nothing that is not used or removed`, async () => {
      const names = await tryEachCall(async (n) => {
        const fault = failAt(new FakeQemuDriver(world), n, isDone);
        const made = await create({ driver: fault.driver }, resource, "1");
        const where = `call ${n} (${fault.at})`;
        await assertNothingRuns(where);
        if (!made) assert.deepEqual(readJournal(), [], where);
        const driver = new FakeQemuDriver(world);
        await destroy(driver, resource, made ?? (await mustCreate({ driver }, resource, versionOf(n))));
        await assertNothingLeft(where);
        return fault.at;
      });
      for (const name of [...CALLS, ...moreCalls]) assert.ok(names.includes(name), name);
    });

    test(`${kind}: a build that is cancelled at its n-th call, ${moment}, leaves nothing`, async () => {
      await tryEachCall(async (n) => {
        const controller = new AbortController();
        const fault = abortAt(new FakeQemuDriver(world), n, isDone, controller);
        const { isBuilt, warnings } = await buildAlone(fault.driver, resource, controller.signal);
        const where = `call ${n} (${fault.at})`;
        assert.deepEqual(warnings, [], where);
        await assertNothingRuns(where);
        if (!isBuilt) assert.deepEqual(listImages(), [], where);
        await dropAll(fault.driver);
        await assertNothingLeft(where);
        return fault.at;
      });
    });

    test(`${kind}: what a process leaves that dies at its n-th call, ${moment}, the next run uses or removes`, async () => {
      await tryEachCall(async (n) => {
        const death = dieAt(new FakeQemuDriver(world), n, isDone);
        const dying = create({ driver: death.driver }, resource, "1");
        const made = await Promise.race([dying, death.happened.then(passTurns)]);
        const where = `call ${n} (${death.at})`;
        try {
          endOwners();
          const driver = new FakeQemuDriver(world);
          const last = made ?? (await mustCreate({ driver }, resource, versionOf(n)));
          await destroy(driver, resource, last);
          await assertNothingLeft(where);
        } finally {
          death.release();
          await dying;
        }
        return made ? "" : death.at;
      });
    });
  }
