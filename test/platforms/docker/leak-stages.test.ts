/** Builds with a stage after each step, cut at every call: what is left is whole, is used, and goes with its resource. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { waitUntilClean } from "../../../src/provider/cancel";
import { dieAt, failAt } from "./faults";
import { EngineError } from "../../../src/platforms/docker/engine-error";
import { DockerSite } from "../../../src/platforms/docker/site";
import { listStages } from "../../../src/platforms/docker/stage-images";
import { FakeDockerDriver } from "./fake-driver";
import type { FakeWorld } from "./fake-world";
import {
  create,
  deleteReplaced,
  describeWorld,
  destroy,
  endOwners,
  home,
  makeWorld,
  type Made,
  type Resource,
} from "./provider-run";

const app: Resource = { stack: "s", name: "staged", lineage: "0000", isStaged: true };
const withFiles: Resource = { ...app, name: "files", folder: [makeFiles("many")] };
const twin: Resource = { ...app, name: "twin" };
const never = new AbortController().signal;
const MORE_CALLS_THAN_ANY_BUILD = 200;

function makeFiles(name: string): string {
  const folder = path.join(home, name);
  fs.mkdirSync(folder);
  for (let index = 0; index < 120; index++) fs.writeFileSync(path.join(folder, `${index}`), `${index}`);
  return `${folder}/`;
}

function listStageTags(world: FakeWorld): string[] {
  return [...world.images.values()].flatMap(({ names }) =>
    [...names].filter((name) => name.startsWith("kiln.local/stage/")),
  );
}

/** As many commands ran in the containers of this driver. */
function countCommands(driver: FakeDockerDriver): () => number {
  let count = 0;
  driver.program = (_container, { argv }) => {
    if (argv[2]?.includes("/tmp/script_")) count++;
    return undefined;
  };
  return () => count;
}

async function mustCreate(world: FakeWorld, resource: Resource, version: string): Promise<Made> {
  const made = await create(new FakeDockerDriver(world), resource, version);
  assert.ok(made);
  const image = world.lookUp(made.outs.artifactId);
  assert.equal(image?.files.get("/srv/version")?.toString(), version);
  assert.equal(world.containers.size, 0);
  return made;
}

test("a second version runs only the step that changed, shares the layers of the others, and the last one takes all along", async () => {
  const world = makeWorld();
  const before = describeWorld(world);
  const driver = new FakeDockerDriver(world);
  const commands = countCommands(driver);
  const first = await create(driver, app, "1");
  assert.ok(first);
  assert.equal(commands(), 1);
  assert.equal(listStageTags(world).length, 2);
  const second = await create(driver, app, "2");
  assert.ok(second);
  assert.equal(commands(), 1, "the first step is reused");
  await deleteReplaced(first);
  await destroy(driver, app, second);
  assert.deepEqual(describeWorld(world), before);
});

test("a rebuild that was asked for runs all steps, and later builds start from what it made", async () => {
  const world = makeWorld();
  const driver = new FakeDockerDriver(world);
  const commands = countCommands(driver);
  const first = await create(driver, app, "1");
  assert.ok(first);
  const again = await create(driver, app, "1", false);
  assert.ok(again);
  assert.equal(commands(), 2);
  await deleteReplaced(first);
  await create(driver, app, "2");
  assert.equal(commands(), 2);
  const tags = listStageTags(world);
  const keys = new Set(tags.map((tag) => tag.split(":")[0]));
  assert.equal(keys.size, 3);
  assert.equal(new Set(tags.map((tag) => world.lookUp(tag)?.id)).size, 3, "what was hidden is gone");
});

test("two resources share stages, and each takes only its own marks along", async () => {
  const world = makeWorld();
  const before = describeWorld(world);
  const one = await mustCreate(world, app, "1");
  const other = await mustCreate(world, twin, "2");
  assert.equal(listStageTags(world).length, 4, "three stages, one of them with two marks");
  await destroy(new FakeDockerDriver(world), app, one);
  assert.equal(listStageTags(world).length, 2);
  await destroy(new FakeDockerDriver(world), twin, other);
  assert.deepEqual(describeWorld(world), before);
});

test("files that are sent first are a layer of their own, which a second version uses", async () => {
  const world = makeWorld();
  const before = describeWorld(world);
  const driver = new FakeDockerDriver(world);
  const first = await create(driver, withFiles, "1");
  assert.ok(first);
  await waitUntilClean();
  const made = world.lookUp(first.outs.artifactId);
  assert.equal(made?.files.get("/many/99")?.toString(), "99");
  const names = [...world.images.values()].flatMap((image) => [...image.names]);
  assert.equal(names.filter((name) => name.startsWith("kiln.local/stage/")).length, 3);
  assert.deepEqual(
    names.filter((name) => name.startsWith("kiln.local/draft/")),
    [],
  );
  assert.equal(first.outs["sourceImageId"], world.lookUp("tiny:latest")?.id);
  const second = await create(driver, withFiles, "2");
  assert.ok(second);
  assert.deepEqual(world.lookUp(second.outs.artifactId)?.layers.slice(0, 2), made.layers.slice(0, 2));
  await deleteReplaced(first);
  await destroy(driver, withFiles, second);
  await waitUntilClean();
  assert.deepEqual(describeWorld(world), before);
});

test("of several sources of one step the first is a layer, and the image still tells what it stands on", async () => {
  const world = makeWorld();
  const driver = new FakeDockerDriver(world);
  const site = new DockerSite(driver, []);
  const made = await create(driver, { ...withFiles, folder: [makeFiles("a"), makeFiles("b")] }, "1");
  await waitUntilClean();
  assert.ok(made);
  const { artifactId, sourceImageId } = made.outs;
  assert.equal(world.lookUp(artifactId)?.files.get("/many/99")?.toString(), "99");
  assert.equal(sourceImageId, world.lookUp("tiny:latest")?.id);
  assert.equal(
    (await site.findArtifact(artifactId, { image: "tiny" }, never))?.data.sourceImageId,
    sourceImageId,
  );
  const comments = [...world.images.values()].map(({ comment }) => comment);
  assert.equal(comments.filter((comment) => comment.includes("bytes on")).length, 1);
});

test("what a layer adds is known when the image below is gone", async () => {
  const world = makeWorld();
  const driver = new FakeDockerDriver(world);
  await create(driver, withFiles, "1");
  await waitUntilClean();
  const measure = async (): Promise<number[]> =>
    (await listStages(driver, never)).map(({ ownBytes }) => ownBytes);
  const before = await measure();
  await driver.untagImage("tiny:latest", never);
  assert.deepEqual(await measure(), before);
  assert.ok(Math.max(...before) > 0);
});

test("an engine that takes no layers gets the files into the container, and is asked once", async () => {
  const world = makeWorld();
  const driver = new FakeDockerDriver(world);
  let asked = 0;
  driver.addLayer = () => {
    asked++;
    return Promise.reject(new EngineError("Sending files as a layer", "no such layer", 500));
  };
  const made = await create(driver, withFiles, "1");
  assert.equal(
    world
      .lookUp(made?.outs.artifactId ?? "")
      ?.files.get("/many/99")
      ?.toString(),
    "99",
  );
  assert.equal(asked, 1);
  await waitUntilClean();
  assert.equal(world.containers.size, 0);
});

/** The next run succeeds whatever is left, and a destroy after it leaves nothing. */
async function recover(
  world: FakeWorld,
  resource: Resource,
  version: string,
  before: unknown,
  where: string,
): Promise<void> {
  endOwners();
  const made = await mustCreate(world, resource, version);
  await destroy(new FakeDockerDriver(world), resource, made);
  assert.deepEqual(describeWorld(world), before, where);
}

const variants = [app, withFiles].flatMap((resource) =>
  [false, true].map((isDone) => ({ resource, isDone })),
);
for (const { resource, isDone } of variants) {
  const moment = `${isDone ? "after" : "before"} the engine has done it${resource.folder ? ", with a layer of files" : ""}`;

  test(`a staged create whose n-th call fails ${moment} leaves only what the next one uses or removes`, async () => {
    for (let n = 1, isReached = true; isReached; n++) {
      assert.ok(n < MORE_CALLS_THAN_ANY_BUILD);
      const world = makeWorld();
      const before = describeWorld(world);
      const fault = failAt(new FakeDockerDriver(world), n, isDone);
      const made = await create(fault.driver, resource, "1");
      assert.equal(world.containers.size, 0, `call ${n}`);
      endOwners();
      if (made) {
        await destroy(new FakeDockerDriver(world), resource, made);
        assert.deepEqual(describeWorld(world), before, `call ${n}`);
      } else await recover(world, resource, n % 2 === 0 ? "1" : "2", before, `call ${n}`);
      isReached = fault.isReached;
    }
  });

  test(`what a process leaves that dies at the n-th call of a staged create, ${moment}, is used or removed`, async () => {
    for (let n = 1, isOver = false; !isOver; n++) {
      assert.ok(n < MORE_CALLS_THAN_ANY_BUILD);
      const world = makeWorld();
      const before = describeWorld(world);
      const death = dieAt(new FakeDockerDriver(world), n, isDone);
      const dying = create(death.driver, resource, "1");
      const made = await Promise.race([dying, death.happened.then(() => passTurns(50))]);
      try {
        if (made) await destroy(new FakeDockerDriver(world), resource, made);
        else await recover(world, resource, n % 2 === 0 ? "1" : "2", before, `call ${n}`);
      } finally {
        death.release();
        await dying;
      }
      isOver = made !== undefined;
    }
  });
}

async function passTurns(count: number): Promise<undefined> {
  for (let turn = 0; turn < count; turn++) await setImmediate();
  return undefined;
}
