import assert from "node:assert/strict";
import { test } from "node:test";
import { imageExists, inspectImage, listClaimTags, never, openDriver, tinyImage } from "../support/docker";
import { createStack, type Program } from "../support/stack";

const project = `keep-${process.pid}`;

function declare(version: string, more: Record<string, unknown> = {}): Program {
  return {
    images: {
      app: {
        image: tinyImage(),
        provisioners: [{ type: "shell", inline: [`echo ${version} > /version`] }],
        changes: ['CMD ["sleep", "600"]'],
        postProcessors: [{ type: "docker-tag", repository: project, tags: [version, "latest"] }],
        ...more,
      },
    },
    containers: { web: { image: "app", wait: false } },
  };
}

async function readIds(outputs: Promise<Record<string, unknown>>): Promise<{ image: string; build: string }> {
  const all = await outputs;
  return { image: String(all["app-imageId"]), build: String(all["app-buildId"]) };
}

test("a replaced image stays for going back, which takes no build, and a destroy removes all", async (t) => {
  const stack = await createStack(t, project, declare("a"));
  await stack.up();
  const a = await readIds(stack.outputs());
  stack.declare(declare("b"));
  await stack.up();
  const b = await readIds(stack.outputs());
  assert.notEqual(b.image, a.image);
  assert.equal(await imageExists(a.image), true, "kept");
  assert.match((await listClaimTags(project)).join(" "), /-keep/);
  assert.equal(await imageExists(`${project}:a`), false, "it has lost its names");

  stack.declare(declare("a"));
  assert.match(await stack.preview(), /imageId +: "sha256:/, "the preview knows the image that is there");
  const { text } = await stack.up();
  assert.match(text, /found: sha256:\w+ has this fingerprint; nothing to build/);
  assert.deepEqual((await readIds(stack.outputs())).image, a.image);
  assert.equal(await imageExists(b.image), true, "kept in turn");
  assert.equal(await imageExists(`${project}:a`), true);

  // Less is to be kept: that alone is an update, and no container is touched.
  stack.declare(declare("a", { keep: 0 }));
  assert.match(await stack.preview(), /1 to update\n\s+2 unchanged/);
  await stack.up();
  assert.equal(await imageExists(b.image), false);
  stack.declare(declare("c", { keep: 1 }));
  await stack.up();
  await stack.destroy();
  assert.equal(await imageExists(a.image), false);
  assert.deepEqual(await listClaimTags(project), []);
});

test("what was changed by hand is named by a refresh, and put right without a build", async (t) => {
  const name = `${project}-drift`;
  const program = declare("1", {
    postProcessors: [{ type: "docker-tag", repository: name, tags: ["1", "2", "3"] }],
  });
  const stack = await createStack(t, name, program);
  await stack.up();
  const before = await readIds(stack.outputs());
  const driver = await openDriver();
  const tiny = await driver.findImage(tinyImage(), never);
  await driver.untagImage(`${name}:1`, never);
  await driver.tagImage(tiny?.id ?? "", name, "2", never);

  const refresh = (await stack.mustRun(["refresh", "--yes", "--skip-preview"])).text;
  assert.match(refresh, new RegExp(`changed: the tag ${name}:1 does not exist any more`));
  assert.match(refresh, new RegExp(`changed: the tag ${name}:2 points to sha256:`));
  assert.match(await stack.preview(), /1 to update\n\s+2 unchanged/);
  await stack.up();
  assert.deepEqual(await readIds(stack.outputs()), before);
  for (const tag of ["1", "2", "3"])
    assert.equal((await inspectImage(`${name}:${tag}`))["Id"], before.image, tag);
  assert.equal((await listClaimTags(name)).length, 1);
  const again = (await stack.mustRun(["refresh", "--yes", "--skip-preview"])).text;
  assert.match(again, /3 unchanged/);

  // Without its claim a preview cannot know the image; the `up` that gives it back touches nothing else.
  const [claim = ""] = await listClaimTags(name);
  await driver.untagImage(claim, never);
  const unclaimed = (await stack.mustRun(["refresh", "--yes", "--skip-preview"])).text;
  assert.match(unclaimed, /changed: its claim was removed/);
  assert.match((await stack.up()).text, /1 updated\n\s+2 unchanged/);
  assert.deepEqual(await listClaimTags(name), [claim]);
});

test("an existing image is adopted by a first create only; a destroy leaves what was not built", async (t) => {
  const name = `${project}-adopt`;
  const driver = await openDriver();
  // An image of somebody's, with no name at all.
  const container = await driver.createContainer(
    { name: `${name}-maker`, image: tinyImage(), entrypoint: ["/bin/sh"], command: [], hostConfig: {} },
    never,
  );
  const foreign = await driver.commitContainer(
    {
      container,
      repository: name,
      tag: "foreign",
      config: {},
      changes: [],
    },
    never,
  );
  await driver.removeContainer(container, never);
  const adopted = { provisioners: [], postProcessors: [], adopt: `${name}:foreign` };
  const stack = await createStack(t, name, { images: { app: { image: tinyImage(), ...adopted } } });
  const { text } = await stack.up();
  assert.match(text, /adopted: .*:foreign/);
  assert.equal((await readIds(stack.outputs())).image, foreign);
  assert.match(await stack.preview("--expect-no-changes"), /unchanged/);
  // Its only own name goes: it stays under management, and alive.
  await driver.untagImage(`${name}:foreign`, never);
  stack.declare({ images: { app: { image: tinyImage(), ...adopted, changes: ["LABEL now=built"] } } });
  await stack.up();
  const built = (await readIds(stack.outputs())).image;
  assert.notEqual(built, foreign);
  await stack.destroy();
  assert.equal(await imageExists(built), false);
  assert.equal(await imageExists(foreign), true, "kiln did not build it");
  assert.deepEqual(await listClaimTags(name), []);
  const { tags = [] } = (await driver.findImage(foreign, never)) ?? {};
  for (const tag of tags) await driver.untagImage(tag, never);
});
