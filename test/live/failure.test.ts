import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { isRunning } from "../support/by-hand";
import { imageExists, listClaimTags, never, openDriver, runInImage, tinyImage } from "../support/docker";
import { createStack, type Program } from "../support/stack";

/** An image whose unit tests, `tests.sh`, run in the build. */
function declareTested(project: string, more: object = {}): Program {
  const args = {
    image: tinyImage(),
    provisioners: [
      { type: "shell", inline: [`echo ${project} > /made`] },
      { type: "shell", script: "tests.sh" },
    ],
    ...more,
  };
  return { images: { app: args } };
}

const passing = "#!/bin/sh\necho all passed\n";
const failing =
  "#!/bin/sh\nfor i in $(seq 1 30); do echo \"case $i: ok\"; done\necho 'case 31: FAILED' >&2\nexit 3\n";

/** The log's name is that of the build, and the container has it too. */
function readLog(text: string): { log: string; container: string } {
  const file = /Log: (\S+\.log)/.exec(text)?.[1];
  assert.ok(file, `the path of a log in:\n${text}`);
  return { log: fs.readFileSync(file, "utf8"), container: `kiln-${path.basename(file, ".log")}` };
}

test("a failing unit test fails the up, leaves nothing behind, and what ran before runs on", async (t) => {
  const project = `broken-${process.pid}`;
  const program = {
    ...declareTested(project, { keep: 0 }),
    containers: { web: { image: "app", command: ["sleep", "600"], wait: false } },
  };
  const stack = await createStack(t, project, program);
  stack.write("tests.sh", passing);
  await stack.up();
  const before = await stack.outputs();

  stack.write("tests.sh", failing);
  const text = await stack.failingUp();
  assert.match(text, /shell: tests\.sh: exit code 3\n/);
  assert.match(text, /case 12: ok\n[^]*case 30: ok\n[^]*case 31: FAILED/);
  assert.doesNotMatch(text.split("exit code 3")[1] ?? "", /case 11: ok/, "twenty lines, no more");
  const { log, container } = readLog(text);
  assert.match(log, /case 1: ok\n/);
  const driver = await openDriver();
  assert.equal(await driver.findContainer(container, never), undefined);
  assert.equal((await listClaimTags(project)).length, 1, "no image of the failed build");
  assert.equal(await isRunning(String(before["web-container"])), true);
  assert.deepEqual(await stack.outputs(), before);

  stack.write("tests.sh", passing.replace("all", "again all"));
  await stack.up();
  const after = await stack.outputs();
  assert.notEqual(after["app-imageId"], before["app-imageId"]);
  assert.equal(await isRunning(String(after["web-container"])), true);
  assert.equal(await imageExists(String(before["app-imageId"])), false);
});

test('`onError: "abort"` keeps the container of the failed build, and says how to look into it and how to remove it', async (t) => {
  const project = `kept-${process.pid}`;
  const stack = await createStack(t, project, declareTested(project, { onError: "abort" }));
  stack.write("tests.sh", failing);
  const text = await stack.failingUp();
  const { container } = readLog(text);
  const driver = await openDriver();
  t.after(() => driver.removeContainer(container, never));

  // The next build, and a destroy, sweep what dead builds left, but not this.
  stack.write("tests.sh", passing);
  await stack.up();
  await stack.destroy();
  const shell = /A shell in it: (.+? sh)\. To remove it: (docker .+? rm -f \S+)/.exec(text);
  assert.ok(shell?.[1] && shell[2], text);
  // No terminal here.
  const run = (command: string, input = ""): string =>
    execFileSync("sh", ["-c", command.replace(" -it ", " -i ")], { input, encoding: "utf8" });
  assert.match(run(shell[1], "cat /made\n"), new RegExp(`${project}\n$`));
  run(shell[2]);
  assert.equal(await driver.findContainer(container, never), undefined);
});

test("all wrong options are told at once, with their paths and the nearest known name", async (t) => {
  const project = `wrong-${process.pid}`;
  const stack = await createStack(t, project, {
    images: {
      app: {
        image: tinyImage(),
        provisioner: [],
        buildTimeout: "soon",
        provisioners: [
          { type: "shell", inlin: ["true"], inline: ["true"] },
          { type: "shel", inline: ["true"] },
          { type: "shell", inline: ["true"], secretEnvironment: ["TOKEN"] },
        ],
        postProcessors: [{ type: "docker-tag", repository: "app:1", tags: "1" }],
      },
    },
  });
  const wrong = await stack.run(["preview"]);
  assert.notEqual(wrong.code, 0);
  for (const expected of [
    /provisioner: unknown option; did you mean `provisioners`\?/,
    /buildTimeout: expected a duration .*got "soon"/,
    /provisioners\[0\]\.inlin: unknown option; did you mean `inline`\?/,
    /provisioners\[1\]: `shel` cannot be used here; known are .*shell/,
    /provisioners\[2\]\.secretEnvironment: "TOKEN" is not in `secrets`/,
    /postProcessors\[0\]\.repository: expected a repository without a tag/,
    /postProcessors\[0\]\.tags: expected an array/,
  ])
    assert.match(wrong.text, expected);
  assert.doesNotMatch(wrong.text, /\n\s+at .*\.js:\d+/, "no stack of ours");

  stack.declare({
    images: {
      app: {
        image: tinyImage(),
        provisioners: [{ type: "file", sources: ["no/such", "gone.txt"], destination: "/srv/" }],
      },
    },
  });
  const missing = await stack.run(["preview"]);
  assert.notEqual(missing.code, 0);
  assert.match(missing.text, /no\/such \(a source of provisioners\.0\)/);
  assert.match(missing.text, /gone\.txt \(a source of provisioners\.0\)/);
});

/** Everything of `second` hangs on the first image in another way. */
const chain = `
const kiln = require("pulumi-kiln");
const fs = require("fs");
const image = process.env.KILN_TINY_IMAGE;
// Stages of the later ones would stand on the first.
const [keep, cache] = [0, false];
const first = new kiln.docker.Image("first", {
  image,
  keep,
  cache,
  provisioners: [kiln.file({ source: "first.txt", destination: "/first" })],
});
const second = new kiln.docker.Image("second", {
  image: first.imageId,
  keep,
  cache,
  environment: { FIRST: first.imageId },
  provisioners: first.imageId.apply((id) => [kiln.shell({ inline: ["echo " + id + " > /second"] })]),
  postProcessors: first.buildId.apply((id) => [[kiln.docker.tag({ repository: "PROJECT", tags: [id] })]]),
  triggers: { first: first.imageId },
}, { dependsOn: [first] });
const third = new kiln.docker.Image("third", {
  image: second.imageId,
  keep,
  cache,
  provisioners: [kiln.shell({ inline: [second.imageId.apply((id) => "# " + id), "true"], environment: { ID: second.imageId } })],
  postProcessors: [kiln.docker.save({ path: second.buildId.apply((id) => "out/" + id + ".tar") })],
});
exports.first = first.imageId;
exports.second = second.imageId;
exports.third = third.imageId;
`;

test("options that are not known yet never fail a preview, along a chain of images", async (t) => {
  const project = `chain-${process.pid}`;
  const stack = await createStack(t, project, { images: {} });
  stack.write("index.js", chain.replace("PROJECT", project));
  stack.write("first.txt", "one");
  assert.match(await stack.preview(), /4 to create/);
  await stack.up();
  const before = await stack.outputs();
  assert.equal(await runInImage(String(before["third"]), ["cat", "/second"]), `${String(before["first"])}\n`);
  assert.match(await stack.preview("--expect-no-changes"), /4 unchanged/);

  stack.write("first.txt", "two");
  assert.match(await stack.preview(), /3 to replace/);
  await stack.up();
  const after = await stack.outputs();
  assert.equal(await runInImage(String(after["third"]), ["cat", "/first"]), "two");
  for (const name of ["first", "second", "third"])
    assert.equal(await imageExists(String(before[name])), false, name);
  assert.equal(fs.readdirSync(path.join(stack.folder, "out")).length, 1, "the old file is gone");
  await stack.destroy();
  assert.deepEqual(fs.readdirSync(path.join(stack.folder, "out")), []);
});
