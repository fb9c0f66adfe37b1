import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { runBuild } from "../../../src/core/build";
import { withContext } from "../../../src/core/context";
import { CancelledError } from "../../../src/core/errors";
import { BuildLog } from "../../../src/core/log";
import { createRedactor } from "../../../src/core/redact";
import { DockerBuilder } from "../../../src/platforms/docker/builder";
import type { DockerDriver } from "../../../src/platforms/docker/driver";
import { nameContainer } from "../../../src/platforms/docker/container-name";
import { DockerSite } from "../../../src/platforms/docker/site";
import { waitUntilClean } from "../../../src/provider/cancel";
import { definition as fileDefinition } from "../../../src/provisioners/file";
import { definition as shellDefinition } from "../../../src/provisioners/shell";
import { abortAt, dieAt, failAt, InjectedError } from "./faults";
import { FakeDockerDriver } from "./fake-driver";
import type { FakeWorld } from "./fake-world";
import {
  create,
  describeWorld,
  destroy,
  endOwners,
  home,
  makeWorld,
  readJournal,
  type Resource,
} from "./provider-run";

const never = new AbortController().signal;
const machine = nameContainer("build");
const MORE_CALLS_THAN_ANY_BUILD = 200;

/** Calls `attempt` for n = 1, 2, 3, … until it says that there was no n-th call. */
async function tryEachCall(attempt: (n: number) => Promise<boolean>): Promise<number> {
  for (let n = 1; n < MORE_CALLS_THAN_ANY_BUILD; n++) if (!(await attempt(n))) return n - 1;
  throw new Error(`a build made more than ${MORE_CALLS_THAN_ANY_BUILD} calls`);
}

async function buildOnce(
  driver: DockerDriver,
  signal: AbortSignal,
): Promise<{ isBuilt: boolean; warnings: string[] }> {
  const warnings: string[] = [];
  const watcher = {
    update: () => undefined,
    tell: () => undefined,
    warn: (text: string) => void warnings.push(text),
  };
  const log = new BuildLog(path.join(home, "logs"), "build", createRedactor([]), watcher);
  const builder = new DockerBuilder({
    driver,
    options: { image: "tiny" },
    repository: "kiln.local/p/s/h",
    tag: "t",
    owner: "p/s/0123456789abcdef",
    id: "1-0000",
  });
  const steps = [
    fileDefinition.create({ content: "x", destination: "/srv/deep/x" }, undefined),
    shellDefinition.create({ inline: ["true"] }, undefined),
  ].map((provisioner, index) => ({ title: `step ${index}`, provisioner }));
  const about = {
    buildId: "build",
    name: "app",
    platform: "docker",
    cwd: home,
    secrets: {},
    hideCommands: false,
  };
  try {
    await withContext({ ...about, signal, log, steps: 0 }, (context) => runBuild(context, builder, steps));
    return { isBuilt: true, warnings };
  } catch (error) {
    assert.ok(error instanceof InjectedError || error instanceof CancelledError, String(error));
    return { isBuilt: false, warnings };
  } finally {
    log.close();
  }
}

for (const isDone of [false, true]) {
  const moment = isDone ? "after the engine has done it" : "before the engine has done it";

  test(`a build whose n-th call fails ${moment} leaves the engine as it was`, async (t) => {
    const count = await tryEachCall(async (n) => {
      const world = makeWorld();
      const before = describeWorld(world);
      const fault = failAt(new FakeDockerDriver(world), n, isDone);
      const outcome = await buildOnce(fault.driver, new AbortController().signal);
      const driver = new FakeDockerDriver(world);
      // The call was that of an undo: it is told, and the next build does it.
      if (outcome.warnings.length > 0) await new DockerSite(driver, []).removeMachine(machine, never);
      if (outcome.isBuilt) await driver.untagImage("kiln.local/p/s/h:t", never);
      assert.deepEqual(describeWorld(world), before, `call ${n}`);
      return fault.isReached;
    });
    t.diagnostic(`${count} calls`);
    assert.ok(count > 8, String(count));
  });

  test(`a build that is cancelled at its n-th call, ${moment}, leaves the engine as it was`, async () => {
    await tryEachCall(async (n) => {
      const world = makeWorld();
      const before = describeWorld(world);
      const controller = new AbortController();
      const fault = abortAt(new FakeDockerDriver(world), n, isDone, controller);
      const { isBuilt, warnings } = await buildOnce(fault.driver, controller.signal);
      assert.deepEqual(warnings, []);
      if (isBuilt) await new FakeDockerDriver(world).untagImage("kiln.local/p/s/h:t", never);
      assert.deepEqual(describeWorld(world), before, `call ${n}`);
      return fault.isReached;
    });
  });
}

async function passTurns(count: number): Promise<undefined> {
  for (let turn = 0; turn < count; turn++) await setImmediate();
  return undefined;
}

const app: Resource = { stack: "s", name: "app", lineage: "0000" };

/** The next run finishes the job, and a destroy after it leaves nothing. */
async function recover(world: FakeWorld, version: string, before: unknown, where: string): Promise<void> {
  endOwners();
  const driver = new FakeDockerDriver(world);
  const made = await create(driver, app, version);
  assert.ok(made, where);
  await waitUntilClean();
  const [image] = [...world.images.values()].slice(1);
  assert.equal(world.images.size, 2, `${where}: one image beside the source`);
  assert.equal(image?.names.size, 3, `${where}: one claim, two tags: ${[...(image?.names ?? [])].join(" ")}`);
  assert.equal(image.files.get("/srv/version")?.toString(), version);
  assert.ok(image.names.has(`s-app:${version}`));
  assert.equal(world.containers.size, 0, where);
  assert.deepEqual(readJournal(), [], where);
  await destroy(driver, app, made);
  assert.deepEqual(describeWorld(world), before, `${where}: after destroy`);
}

for (const isDone of [false, true]) {
  const moment = isDone ? "after the engine has done it" : "before the engine has done it";

  test(`a create whose n-th call fails ${moment} leaves no container, and no image that is not found again`, async (t) => {
    for (const next of ["1", "2"]) {
      const count = await tryEachCall(async (n) => {
        const world = makeWorld();
        const before = describeWorld(world);
        const fault = failAt(new FakeDockerDriver(world), n, isDone);
        const made = await create(fault.driver, app, "1");
        const where = `call ${n}, then version ${next}`;
        assert.equal(world.containers.size, 0, where);
        // A failure of what is told only and done by the next run: the image is made, and in state.
        if (made) {
          await waitUntilClean();
          endOwners();
          await destroy(new FakeDockerDriver(world), app, made);
          assert.deepEqual(describeWorld(world), before, where);
          assert.deepEqual(readJournal(), [], where);
          return fault.isReached;
        }
        if (world.images.size > 1) assert.equal(readJournal().length, 1, where);
        await recover(world, next, before, where);
        return true;
      });
      t.diagnostic(`${count} calls`);
    }
  });

  test(`what a process leaves that dies at its n-th call, ${moment}, the next run uses or removes`, async () => {
    for (const next of ["1", "2"]) {
      await tryEachCall(async (n) => {
        const world = makeWorld();
        const before = describeWorld(world);
        const death = dieAt(new FakeDockerDriver(world), n, isDone);
        const dying = create(death.driver, app, "1");
        // A build container may be on its way out after the answer: a death then is none of the build's.
        const made = await Promise.race([dying, death.happened.then(() => passTurns(50))]);
        const where = `call ${n}, then version ${next}`;
        try {
          if (made) await destroy(new FakeDockerDriver(world), app, made);
          else await recover(world, next, before, where);
        } finally {
          death.release();
          await dying;
        }
        return made === undefined;
      });
    }
  });
}
