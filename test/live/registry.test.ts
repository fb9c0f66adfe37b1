import assert from "node:assert/strict";
import * as path from "node:path";
import { describe, test } from "node:test";
import { deleteManifest } from "../../src/platforms/docker/registry";
import { parseReference } from "../../src/platforms/docker/reference";
import { deriveImage, removeImage } from "../support/by-hand";
import { imageExists, listClaimTags, never, openDriver, tinyImage } from "../support/docker";
import { createRegistry, findFreePort, registryMissing, user, type Registry } from "../support/registry";
import { createStack, type Program } from "../support/stack";

function declareApp(project: string, registry: Registry, tags: string[], more: object = {}): Program {
  return {
    images: {
      app: {
        image: tinyImage(),
        provisioners: [{ type: "shell", inline: [`echo ${project} > /made`] }],
        postProcessors: [
          { type: "docker-tag", repository: `${registry.address}/me/app`, tags },
          { type: "docker-push" },
        ],
        ...more,
      },
    },
  };
}

describe("with a registry", { skip: registryMissing }, () => {
  test("what was pushed is not lost when the engine loses it, and only a clear no of the registry means gone", async (t) => {
    const project = `pushed-${process.pid}`;
    const registry = await createRegistry(t);
    await registry.start();
    const stack = await createStack(t, project, declareApp(project, registry, ["1"]));

    await stack.up();
    const first = await stack.outputs();
    const imageId = String(first["app-imageId"]);
    const digest = String(first["app-digest"]);
    assert.equal(await registry.findDigest("me/app:1"), digest);
    assert.equal(first["app-pinnedReference"], `${registry.address}/me/app@${digest}`);

    // The engine is a cache: what it loses is still in the registry.
    await removeImage(imageId);
    assert.match((await stack.up("--refresh")).text, /2 unchanged/);
    assert.equal(await imageExists(imageId), false, "nothing needed it");

    // Another tag: the image comes back by its digest, and nothing is built.
    stack.declare(declareApp(project, registry, ["1", "2"]));
    const tagged = await stack.up();
    assert.doesNotMatch(tagged.text, /step \d+ of \d+: commit/);
    const second = await stack.outputs();
    assert.equal(second["app-buildId"], first["app-buildId"]);
    assert.equal(second["app-imageId"], imageId);
    assert.equal(await imageExists(imageId), true);
    assert.equal(await registry.findDigest("me/app:2"), digest);
    assert.equal((await listClaimTags(project)).length, 1);

    // Neither the engine nor the registry can tell: the image is kept.
    await removeImage(imageId);
    await registry.stop();
    const down = await stack.mustRun(["refresh", "--yes", "--skip-preview"]);
    assert.match(down.text, /warning: whether the image still exists cannot be told, so it is kept: .*127/);
    assert.match(down.text, /2 unchanged/);
    const closed = { DOCKER_HOST: `tcp://127.0.0.1:${await findFreePort()}` };
    const lost = await stack.mustRun(["refresh", "--yes", "--skip-preview"], closed);
    assert.match(lost.text, /so it is kept: .*nothing listens at/);
    assert.match(lost.text, /2 unchanged/);
    const preview = await stack.mustRun(["preview", "--expect-no-changes"], closed);
    const diagnostics = preview.text.split("Diagnostics:")[1] ?? "";
    assert.equal(diagnostics.match(/warning: which images exist cannot be told/g)?.length, 1, preview.text);
    assert.equal(diagnostics.match(/warning:/g)?.length, 1, preview.text);

    // The registry says no, and it is built again.
    await registry.start();
    await deleteManifest(parseReference(first["app-pinnedReference"]));
    const rebuilt = await stack.up("--refresh");
    assert.match(rebuilt.text, /gone: sha256:/);
    const third = await stack.outputs();
    assert.notEqual(third["app-buildId"], first["app-buildId"]);
    assert.equal(await registry.findDigest("me/app:1"), third["app-digest"]);

    await stack.destroy();
    assert.equal(await imageExists(String(third["app-imageId"])), false);
    assert.equal(await registry.findDigest("me/app:1"), third["app-digest"], "the registry is left alone");
  });

  test("a push that fails is finished by the next up without a build, and destroy can delete what was pushed", async (t) => {
    const project = `push-${process.pid}`;
    const registry = await createRegistry(t, true);
    const declare = (password: string, tags: string[]): Program =>
      declareApp(project, registry, tags, {
        registryAuth: [{ server: registry.address, username: user.username, password }],
        deleteFromRegistry: true,
      });
    const stack = await createStack(t, project, declare(user.password, ["1"]));

    const down = await stack.failingUp();
    assert.match(down, /Pushing .*\/me\/app:1: /);
    assert.match(down, /The image is kept; the next `pulumi up` goes on from here/);
    const [claim = ""] = await listClaimTags(project);
    assert.match(claim, /-live$/);
    const state = await stack.state();
    assert.ok(state.includes('"incomplete": true'), "it is in state, as not finished");
    const buildId = /"buildId": "(\w+)"/.exec(state)?.[1];

    await registry.start();
    stack.declare(declare("wrong-password", ["1"]));
    const refused = await stack.failingUp();
    assert.match(refused, /Pushing .*\/me\/app:1: .*(unauthorized|no basic auth|authentication|denied)/);
    assert.doesNotMatch(refused, /wrong-password/);

    stack.declare(declare(user.password, ["1"]));
    const finished = await stack.up();
    assert.doesNotMatch(finished.text, /step \d+ of \d+: commit/);
    const done = await stack.outputs();
    assert.equal(done["app-buildId"], buildId);
    assert.equal(await registry.findDigest("me/app:1"), done["app-digest"]);
    assert.doesNotMatch(await stack.state(), /"incomplete"|-password/);

    // Another name for the same manifest: deleting the old name's would delete it.
    stack.declare(declare(user.password, ["2"]));
    await stack.up();
    assert.equal(await registry.findDigest("me/app:2"), done["app-digest"]);

    // No credentials are in the state: refresh and destroy use Docker's own. Without any, nothing can be told.
    await removeImage(String(done["app-imageId"]));
    const refresh = ["refresh", "--yes", "--skip-preview"];
    assert.match(
      (await stack.mustRun(refresh)).text,
      /warning: whether the image still exists cannot be told, so it is kept/,
    );
    const auth = Buffer.from(`${user.username}:${user.password}`).toString("base64");
    stack.write("docker/config.json", JSON.stringify({ auths: { [registry.address]: { auth } } }));
    const loggedIn = { DOCKER_CONFIG: path.join(stack.folder, "docker") };
    const refreshed = await stack.mustRun(refresh, loggedIn);
    assert.doesNotMatch(refreshed.text, /warning/);
    assert.match(refreshed.text, /2 unchanged/);

    await stack.mustRun(["destroy", "--yes", "--skip-preview"], loggedIn);
    assert.equal(await registry.findDigest("me/app:2"), undefined);
  });

  test('with `pull: "always"` a moved base rebuilds, and a registry that is down changes nothing', async (t) => {
    const project = `base-${process.pid}`;
    const registry = await createRegistry(t);
    await registry.start();
    const base = `${registry.address}/base`;
    const driver = await openDriver();
    const pushBase = async (): Promise<void> => {
      await deriveImage(t, tinyImage(), base, "latest");
      await driver.pushImage(base, "latest", () => undefined, never);
    };
    const stack = await createStack(t, project, {
      images: {
        app: {
          image: `${base}:latest`,
          pull: "always",
          keep: 0,
          provisioners: [{ type: "shell", inline: [`echo ${project} > /made`] }],
        },
      },
    });
    await pushBase();

    await stack.up();
    const first = await stack.outputs();
    await pushBase();
    await registry.stop();
    const down = await stack.preview("--expect-no-changes");
    assert.match(down, /warning: whether the source has changed cannot be told: .*127\.0\.0\.1/);
    assert.match(down, /2 unchanged/);

    await registry.start();
    assert.match(await stack.preview(), /rebuild: ~base image\n/);
    await stack.up();
    const second = await stack.outputs();
    assert.notEqual(second["app-imageId"], first["app-imageId"]);
    assert.equal(await imageExists(String(first["app-imageId"])), false);
    assert.match(await stack.preview("--expect-no-changes"), /2 unchanged/);
  });
});
