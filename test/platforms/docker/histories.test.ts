import assert from "node:assert/strict";
import { test } from "node:test";
import { createImage } from "../../../src/provider/create";
import { deleteImage } from "../../../src/provider/delete";
import { recall } from "../../../src/provider/memory";
import type { Inputs } from "../../../src/provider/state";
import { updateImage } from "../../../src/provider/update";
import { FakeDockerDriver } from "./fake-driver";
import { dieAt } from "./faults";
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
