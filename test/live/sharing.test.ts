import assert from "node:assert/strict";
import { test } from "node:test";
import { deriveImage, isRunning, removeImage, runContainer } from "../support/by-hand";
import {
  imageExists,
  inspectImage,
  listClaimTags,
  never,
  openDriver,
  runInImage,
  tinyImage,
} from "../support/docker";
import { createStack, type Program } from "../support/stack";

/** Images of the same options, and so of one fingerprint. */
function declareImages(content: string, names: string[], options: Program["options"] = {}): Program {
  const args = { image: tinyImage(), provisioners: [{ type: "shell", inline: [`echo ${content} > /made`] }] };
  return { images: Object.fromEntries(names.map((name) => [name, args])), options };
}

function urnOf(project: string, name: string): string {
  return `urn:pulumi:test::${project}::pulumi-nodejs:dynamic/kiln/docker:Image::${name}`;
}

test("resources and stacks with one fingerprint share an image until the last of them is gone", async (t) => {
  const project = `share-${process.pid}`;
  const twins = await createStack(t, project, declareImages(project, ["one", "two"]));
  await twins.up();
  const outputs = await twins.outputs();
  const imageId = String(outputs["one-imageId"]);
  assert.equal(await imageExists(imageId), true);
  assert.equal(await imageExists(String(outputs["two-imageId"])), true);
  twins.declare(declareImages(project, ["one"]));
  await twins.up();
  assert.equal(await runInImage(imageId, ["cat", "/made"]), `${project}\n`);

  // Another project takes the image over.
  const other = await createStack(t, `${project}-other`, declareImages(project, ["any"]));
  const { text } = await other.up();
  assert.match(text, /found: sha256:\w+ has this fingerprint; nothing to build/);
  assert.doesNotMatch(text, /step \d+ of \d+: commit/);
  assert.equal((await other.outputs())["any-imageId"], imageId);

  // Another clone of the program, with a state of its own, looks like a rebuild.
  const clone = await createStack(t, project, declareImages(project, ["one"]));
  await clone.up();
  const cloneId = String((await clone.outputs())["one-imageId"]);
  await twins.destroy();
  assert.equal(await imageExists(imageId), true, "the other project has it still");
  assert.equal(await imageExists(cloneId), true, "the clone has its own still");
  await other.destroy();
  assert.equal(await imageExists(imageId), false);
  await clone.destroy();
  assert.equal(await imageExists(cloneId), false);
});

test("a rebuild that was asked for, or that a lost image needs, makes a new image; another address of the engine does not", async (t) => {
  const project = `again-${process.pid}`;
  const program = declareImages(project, ["app"]);
  const stack = await createStack(t, project, program);
  await stack.up();
  let imageId = String((await stack.outputs())["app-imageId"]);
  const mustBeNew = async (): Promise<void> => {
    const next = String((await stack.outputs())["app-imageId"]);
    assert.notEqual(next, imageId);
    assert.equal(await imageExists(next), true);
    assert.equal(await imageExists(imageId), false, "the old image is gone");
    assert.equal((await listClaimTags(project)).length, 1);
    imageId = next;
  };

  await stack.up("--replace", urnOf(project, "app"));
  await mustBeNew();
  await stack.mustRun(["state", "taint", urnOf(project, "app"), "--yes"]);
  await stack.up();
  await mustBeNew();
  await removeImage(imageId);
  const refresh = await stack.mustRun(["refresh", "--yes", "--skip-preview"]);
  assert.match(refresh.text, /gone: sha256:\w+ is not there any more/);
  await stack.up();
  await mustBeNew();

  // The resource is replaced, and its image found again: it is the same engine.
  const { address } = await openDriver();
  stack.declare({
    images: {
      app: {
        ...program.images["app"],
        host: address,
        postProcessors: [{ type: "docker-tag", repository: project }],
      },
    },
  });
  assert.match((await stack.up()).text, /1 replaced/);
  assert.equal((await stack.outputs())["app-imageId"], imageId);
  assert.equal((await listClaimTags(project)).length, 1);
  assert.deepEqual(await imageExists(`${project}:latest`), true);
});

test("destroy never takes an image from a container or a child image, and a later run collects it", async (t) => {
  const project = `used-${process.pid}`;
  const stack = await createStack(t, project, declareImages(project, ["app"]));
  await stack.up();
  const imageId = String((await stack.outputs())["app-imageId"]);
  const child = await deriveImage(t, imageId, `${project}-child`, "1");
  const user = await runContainer(t, imageId);
  const childUser = await runContainer(t, child);

  const { text } = await stack.destroy();
  assert.match(text, new RegExp(`warning: ${imageId.slice(0, 19)} stays for now: container ${user} uses it`));
  assert.equal(await isRunning(user), true);
  const [claim = "", ...more] = await listClaimTags(project);
  assert.match(claim, /-gone$/);
  assert.deepEqual(more, []);

  // Another stack sweeps, while the image is used and when it is not any more.
  const sweeper = await createStack(t, `${project}-sweeper`, declareImages(`${project}-sweeper`, ["any"]));
  await sweeper.up();
  assert.equal(await isRunning(user), true);
  assert.equal((await listClaimTags(project)).length, 1);
  const driver = await openDriver();
  await driver.removeContainer(user, never);
  await sweeper.destroy();
  assert.deepEqual(await listClaimTags(project), []);
  assert.equal(await isRunning(childUser), true);
  assert.equal(await runInImage(child, ["cat", "/made"]), `${project}\n`);
  await driver.removeContainer(childUser, never);
});

test("`ignoreChanges` freezes an image, and `retainOnDelete` leaves it", async (t) => {
  const project = `frozen-${process.pid}`;
  const stack = await createStack(t, project, declareImages("one", ["app"]));
  await stack.up();
  const imageId = String((await stack.outputs())["app-imageId"]);
  t.after(() => removeImage(imageId));

  const frozen = { ignoreChanges: ["fingerprint"], retainOnDelete: true };
  stack.declare(declareImages("two", ["app"], frozen));
  const { text } = await stack.up();
  assert.doesNotMatch(text, /replace|rebuild/);
  assert.equal((await stack.outputs())["app-imageId"], imageId);
  await stack.destroy();
  assert.equal(await imageExists(imageId), true);
  const names = (await inspectImage(imageId))["RepoTags"] as string[];
  assert.match(names.join(), /^kiln\.local\/frozen-\S+-pin$/);
});
