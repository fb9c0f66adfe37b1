import assert from "node:assert/strict";
import { test } from "node:test";
import { createImage } from "../../../src/provider/create";
import { deleteImage } from "../../../src/provider/delete";
import { diffImage } from "../../../src/provider/diff";
import { recall } from "../../../src/provider/memory";
import type { Inputs } from "../../../src/provider/state";
import { updateImage } from "../../../src/provider/update";
import { FakeDockerDriver } from "./fake-driver";
import { dieAt } from "./faults";
import type { FakeWorld } from "./fake-world";
import {
  describeWorld,
  destroy,
  endOwners,
  makeInputs,
  makeWorld,
  readJournal,
  startRun,
  type Resource,
} from "./provider-run";

const app: Resource = { stack: "h", name: "app", lineage: "0000" };
const web: Resource = { stack: "h", name: "web", lineage: "1111" };

function tagged(resource: Resource, tags: string[]): Inputs {
  return {
    ...makeInputs(resource, "1"),
    postProcessors: [{ type: "docker-tag", repository: "shared", tags }],
  };
}

function plan(inputs: Inputs, tags: string[]): void {
  Object.assign(recall(inputs.__kiln.urn), { planned: tags.map((tag) => `docker-tag:shared:${tag}`) });
}

test("a renamed resource keeps the names that the old one gave", async () => {
  const world = makeWorld();
  const driver = new FakeDockerDriver(world);
  const before = describeWorld(world);
  startRun(driver, app, { version: "1", moved: true });
  const old = await createImage(tagged(app, ["1.0"]));
  // The next run declares it under another name: created first, then the old one is deleted.
  Object.assign(recall(old.outs.__kiln.urn), { checked: false, planned: [] });
  startRun(driver, web, { version: "1", moved: true });
  const inputs = tagged(web, ["1.0"]);
  plan(inputs, ["1.0"]);
  const made = await createImage(inputs);
  await deleteImage(old.id, old.outs);
  const [image] = [...world.images.values()].filter((one) => one.names.has("shared:1.0"));
  assert.equal(image?.id, made.outs["imageId"]);
  plan(inputs, []);
  await destroy(driver, web, made);
  assert.deepEqual(describeWorld(world), before);
});

test("what an update that died has named goes with the image", async () => {
  const world = makeWorld();
  const driver = new FakeDockerDriver(world);
  const before = describeWorld(world);
  startRun(driver, app, { version: "1", moved: true });
  const made = await createImage(tagged(app, ["1.0"]));
  const inputs = tagged(app, ["2.0"]);
  const isNamed = (): boolean => [...world.images.values()].some((image) => image.names.has("shared:2.0"));
  const deaths: { release(): void; updating: Promise<unknown> }[] = [];
  for (let n = 1; !isNamed(); n++) {
    assert.ok(n < 50);
    const death = dieAt(driver, n, true);
    startRun(death.driver, app, { version: "1", moved: false });
    plan(inputs, ["2.0"]);
    const updating = updateImage(made.id, made.outs, inputs).catch(() => undefined);
    deaths.push({ release: () => death.release(), updating });
    await Promise.race([death.happened, updating]);
  }
  endOwners();
  plan(inputs, []);
  await destroy(driver, app, made);
  assert.deepEqual(describeWorld(world), before);
  assert.deepEqual(readJournal(), []);
  for (const { release, updating } of deaths) {
    release();
    await updating;
  }
});

test("what others left, and cannot be removed, does not fail an image that is made", async () => {
  const world = makeWorld();
  const driver = new FakeDockerDriver(world);
  const other = "kiln.local/x/y/0123456789abcdef";
  const tag = `k1-${"0".repeat(64)}-1-abcd-gone`;
  world.addImage(`${other}:${tag}`, {});
  const untag = driver.untagImage.bind(driver);
  driver.untagImage = (reference, signal) =>
    reference.startsWith(other) ? Promise.reject(new Error("the engine said 500")) : untag(reference, signal);
  startRun(driver, app, { version: "1", moved: true });
  const made = await createImage(tagged(app, ["1.0"]));
  assert.match(String(made.outs["imageId"]), /^sha256:/);
});

test("the same stack from two machines: built where it is needed, and nothing is forgotten on the other", async () => {
  const here = makeWorld();
  const there = makeWorld();
  const empty = describeWorld(here);
  const laptop = new FakeDockerDriver(here, "LAPTOP");
  const runner = new FakeDockerDriver(there, "RUNNER");
  startRun(laptop, app, { version: "1", moved: true });
  const first = await createImage(tagged(app, ["1.0"]));

  // Nothing has changed: the other machine builds nothing. A new tag needs the image, which only a build gives.
  startRun(runner, app, { version: "1", moved: false });
  assert.deepEqual(await diffImage(first.id, first.outs, tagged(app, ["1.0"])), { changes: false });
  const retagged = tagged(app, ["2.0"]);
  assert.deepEqual(await diffImage(first.id, first.outs, retagged), {
    changes: true,
    replaces: ["fingerprint"],
  });
  const second = await createImage(retagged);
  await deleteImage(first.id, first.outs);
  assert.equal(here.images.size, 2, "the laptop is not asked");

  // Back on the laptop: what was replaced meanwhile is kept there as if it had been replaced there.
  startRun(laptop, app, { version: "2", moved: true });
  const changed = { ...retagged, fingerprint: makeInputs(app, "2").fingerprint };
  await diffImage(second.id, second.outs, changed);
  const third = await createImage(changed);
  await deleteImage(second.id, second.outs);
  assert.match(describeClaims(here), /^k1-31\S+-keep k1-32\S+-live$/);
  assert.deepEqual(
    third.outs.__kiln.built.elsewhere?.map(({ engineId, id }) => [engineId, id]),
    [["RUNNER", second.id]],
  );
  await destroy(laptop, app, third);
  assert.deepEqual(describeWorld(here), empty);
  assert.equal(there.images.size, 2, "told, not touched");
  startRun(runner, app);
  await deleteImage(third.id, third.outs);
  assert.deepEqual(describeWorld(there), empty, "a destroy there, if it comes to that");
});

function describeClaims(world: FakeWorld): string {
  const names = [...world.images.values()].flatMap((image) => [...image.names]);
  const claims = names.filter((name) => name.startsWith("kiln.local/p/"));
  return claims
    .map((name) => name.split(":")[1])
    .sort()
    .join(" ");
}
