import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { PassThrough } from "node:stream";
import { after, mock, test } from "node:test";
import { runBuild } from "../../../src/core/build";
import { withContext } from "../../../src/core/context";
import { CancelledError } from "../../../src/core/errors";
import { writeJournal, type JournalEntry } from "../../../src/core/journal";
import { BuildLog } from "../../../src/core/log";
import { createRedactor } from "../../../src/core/redact";
import { DockerBuilder, nameContainer } from "../../../src/platforms/docker/builder";
import type { DockerDriver } from "../../../src/platforms/docker/driver";
import { platform } from "../../../src/platforms/docker/platform";
import { DockerSite } from "../../../src/platforms/docker/site";
import { createImage } from "../../../src/provider/create";
import { deleteImage } from "../../../src/provider/delete";
import { recall } from "../../../src/provider/memory";
import type { Inputs, State } from "../../../src/provider/state";
import { definition as fileDefinition } from "../../../src/provisioners/file";
import { definition as shellDefinition } from "../../../src/provisioners/shell";
import { abortAt, dieAt, failAt, InjectedError } from "./faults";
import { FakeDockerDriver } from "./fake-driver";
import type { FakeWorld } from "./fake-world";

const home = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-leak-"));
process.env["PULUMI_KILN_HOME"] = home;
process.env["TMPDIR"] = home;
// The provider takes the end of its input for the death of Pulumi's engine.
Object.defineProperty(process, "stdin", { value: new PassThrough() });
after(() => fs.rmSync(home, { recursive: true, force: true }));

const never = new AbortController().signal;
const machine = nameContainer("build");
const journalFolder = path.join(home, "state", "journal");
fs.mkdirSync(journalFolder, { recursive: true });
const MORE_CALLS_THAN_ANY_BUILD = 200;

function makeWorld(): FakeWorld {
  const { world } = new FakeDockerDriver();
  world.addImage("tiny:latest", { Cmd: ["/bin/sh"] });
  return world;
}

/** All that there is, in a form that can be compared. */
function describeWorld(world: FakeWorld): unknown {
  return {
    images: [...world.images.values()].map(({ id, names }) => ({ id, names: [...names] })),
    containers: [...world.containers.values()].map(({ name }) => name),
  };
}

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
  const watcher = { update: () => undefined, warn: (text: string) => void warnings.push(text) };
  const log = new BuildLog(path.join(home, "logs"), "build", createRedactor([]), watcher);
  const builder = new DockerBuilder({
    driver,
    options: { image: "tiny" },
    repository: "kiln.local/p/s/h",
    tag: "t",
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

const urn = "urn:pulumi:s::p::pulumi-nodejs:dynamic/kiln/docker:Image::app";

function makeInputs(version: string): Inputs {
  return {
    image: "tiny",
    provisioners: [
      { type: "file", content: version, destination: "/srv/version" },
      { type: "shell", inline: ["true"] },
    ],
    postProcessors: [{ type: "docker-tag", repository: "app", tags: [version] }],
    fingerprint: `k1:${Buffer.from(version).toString("hex").padEnd(64, "0")}`,
    __kiln: {
      type: "docker:Image",
      stateVersion: 1,
      urn,
      from: "",
      project: "p",
      stack: "s",
      secretOptions: [],
      retain: false,
      lineage: "0000",
    },
  };
}

/** A run of the engine with this driver: nothing is remembered of the one before. */
function startRun(driver: DockerDriver, planned: string[]): void {
  mock.restoreAll();
  mock.method(platform, "connect", () => Promise.resolve(new DockerSite(driver, [])));
  Object.assign(recall(urn), { checked: planned.length > 0, moved: true, planned });
}

function create(driver: DockerDriver, version: string): Promise<{ id: string; outs: State }> {
  startRun(driver, [`docker-tag:app:${version}`]);
  return createImage(makeInputs(version));
}

async function destroy(driver: DockerDriver, made: { id: string; outs: State }): Promise<void> {
  startRun(driver, []);
  await deleteImage(made.id, made.outs);
}

function readJournal(): JournalEntry[] {
  return fs
    .readdirSync(journalFolder)
    .filter((name) => name.endsWith(".json"))
    .map((name) => JSON.parse(fs.readFileSync(path.join(journalFolder, name), "utf8")) as JournalEntry);
}

/** As if the process that made them had ended. */
function endOwners(): void {
  for (const entry of readJournal()) writeJournal({ ...entry, owner: { ...entry.owner, startedAt: "" } });
}

/** The next run finishes the job, and a destroy after it leaves nothing. */
async function recover(world: FakeWorld, version: string, before: unknown, where: string): Promise<void> {
  endOwners();
  const driver = new FakeDockerDriver(world);
  const made = await create(driver, version);
  const [image] = [...world.images.values()].slice(1);
  assert.equal(world.images.size, 2, `${where}: one image beside the source`);
  assert.equal(image?.names.size, 2, `${where}: one claim, one tag: ${[...(image?.names ?? [])].join(" ")}`);
  assert.equal(image.files.get("/srv/version")?.toString(), version);
  assert.ok(image.names.has(`app:${version}`));
  assert.equal(world.containers.size, 0, where);
  assert.deepEqual(readJournal(), [], where);
  await destroy(driver, made);
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
        const made = await create(fault.driver, "1").catch(() => undefined);
        const where = `call ${n}, then version ${next}`;
        assert.equal(world.containers.size, 0, where);
        // A failure of what is told only and done by the next run: the image is made, and in state.
        if (made) {
          endOwners();
          await destroy(new FakeDockerDriver(world), made);
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
        const dying = create(death.driver, "1").then(
          (made) => made,
          () => undefined,
        );
        const made = await Promise.race([death.happened, dying]);
        const where = `call ${n}, then version ${next}`;
        if (made) {
          await destroy(new FakeDockerDriver(world), made);
          return false;
        }
        await recover(world, next, before, where);
        death.release();
        await dying;
        return true;
      });
    }
  });
}
