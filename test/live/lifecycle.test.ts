import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { test } from "node:test";
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

const project = `life-${process.pid}`;

function declareApp(tags: string[]): Program {
  return {
    images: {
      app: {
        image: tinyImage(),
        provisioners: [
          { type: "file", source: "app/", destination: "/srv/app", ignore: ["*.log"] },
          {
            type: "shell",
            inline: ["cp /srv/app/main.txt /result", "echo $MODE >> /result"],
            environment: { MODE: "prod" },
          },
        ],
        changes: ['CMD ["sleep", "600"]', "EXPOSE 8080", "LABEL made=here"],
        postProcessors: [{ type: "docker-tag", repository: project, tags }],
      },
    },
    containers: { web: { image: "app", wait: false } },
  };
}

test("an image is built, kept as it is, rebuilt for a changed file, tagged in place, and destroyed", async (t) => {
  const stack = await createStack(t, project, declareApp(["1"]));
  stack.write("app/main.txt", "one\n");
  stack.write("app/other.txt", "other\n");
  stack.write("app/noise.log", "1");

  await stack.up();
  const first = await stack.outputs();
  const firstId = String(first["app-imageId"]);
  assert.match(firstId, /^sha256:[0-9a-f]{64}$/);
  assert.equal(await runInImage(firstId, ["cat", "/result"]), "one\nprod\n");
  assert.equal(await runInImage(firstId, ["ls", "/srv/app"]), "main.txt\nother.txt\n");
  assert.equal(first["app-reference"], `${project}:1`);
  const builder = await (await openDriver()).findContainer(`kiln-${String(first["app-buildId"])}`, never);
  assert.equal(builder, undefined);

  // Nothing that matters changes: times, a file that is ignored, the folder.
  const later = new Date(Date.now() + 86_400_000);
  fs.utimesSync(path.join(stack.folder, "app/main.txt"), later, later);
  stack.write("app/noise.log", "2");
  assert.match(await stack.preview("--expect-no-changes"), /3 unchanged/);
  const elsewhere = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-copy-"));
  t.after(() => fs.rmSync(elsewhere, { recursive: true, force: true }));
  fs.cpSync(stack.folder, elsewhere, { recursive: true, verbatimSymlinks: true });
  const copy = Object.assign(Object.create(Object.getPrototypeOf(stack) as object) as typeof stack, stack, {
    folder: elsewhere,
  });
  assert.match(await copy.preview("--expect-no-changes"), /3 unchanged/);

  // One file changes: the preview names it and no other.
  stack.write("app/main.txt", "two\n");
  const preview = await stack.preview();
  assert.match(preview, /rebuild: ~app\/main\.txt\n/);
  assert.match(preview, /~ app\/main\.txt: "/);
  assert.doesNotMatch(preview, /other\.txt/);
  await stack.up();
  const second = await stack.outputs();
  const secondId = String(second["app-imageId"]);
  assert.equal(await runInImage(secondId, ["cat", "/result"]), "two\nprod\n");
  assert.notEqual(secondId, firstId);
  assert.notEqual(second["web-container"], first["web-container"]);
  assert.equal(await imageExists(firstId), true, "the old image is kept for going back");
  const states = (await listClaimTags(project)).map((tag) => tag.split("-").at(-1));
  assert.deepEqual(states.sort(), ["keep", "live"]);

  // Another tag only: no build, and the container stays.
  stack.declare(declareApp(["2", "latest"]));
  const tagPreview = await stack.preview();
  assert.match(tagPreview, /1 to update\n\s+2 unchanged/);
  await stack.up();
  const third = await stack.outputs();
  assert.equal(third["app-imageId"], secondId);
  assert.equal(third["app-buildId"], second["app-buildId"]);
  assert.equal(third["web-container"], second["web-container"]);
  assert.deepEqual(
    ((await inspectImage(secondId))["RepoTags"] as string[]).filter((tag) => tag.startsWith(project)).sort(),
    [`${project}:2`, `${project}:latest`],
  );

  await stack.destroy();
  assert.equal(await imageExists(secondId), false);
  assert.deepEqual(await listClaimTags(project), []);
});

test("the image's configuration is the source's and `changes`, nothing else", async (t) => {
  const name = `config-${process.pid}`;
  const program = declareApp(["1"]);
  program.containers = {};
  Object.assign(program.images["app"] ?? {}, {
    user: "0",
    environment: { BUILD_ONLY: "secret-ish" },
    tmpfs: ["/scratch"],
    postProcessors: [],
  });
  const stack = await createStack(t, name, program);
  stack.write("app/main.txt", "one\n");
  await stack.up();
  const source = (await inspectImage(tinyImage()))["Config"] as Record<string, unknown>;
  const result = (await inspectImage(String((await stack.outputs())["app-imageId"])))["Config"] as Record<
    string,
    unknown
  >;
  const changed = { Cmd: ["sleep", "600"], ExposedPorts: { "8080/tcp": {} }, Labels: { made: "here" } };
  assert.deepEqual(result, { ...source, ...changed });
});
