import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { imageExists, inspectImage, listClaimTags, tinyImage } from "../support/docker";
import { createStack, type Program, type Stack } from "../support/stack";

type Unit = { type: string; [option: string]: unknown };

function declareApp(project: string, postProcessors: Unit[][]): Program {
  const provisioners = [{ type: "shell", inline: [`echo ${project} > /made`] }];
  return { images: { app: { image: tinyImage(), provisioners, postProcessors } } };
}

/** Titles of the steps that a run showed. */
function listSteps(text: string): string[] {
  return [...new Set([...text.matchAll(/step \d+ of \d+: (.+)/g)].map(([, title = ""]) => title))];
}

function listFiles(stack: Stack): string[] {
  const folder = path.join(stack.folder, "out");
  return fs.existsSync(folder) ? fs.readdirSync(folder).sort() : [];
}

test("post-processors run in their lists, a change runs only what changed, and what one made goes with it", async (t) => {
  const project = `post-${process.pid}`;
  const files: Unit[] = [
    { type: "docker-save", path: "out/app.tar" },
    { type: "compress", output: "out/app.tar.gz" },
    { type: "checksum", output: "out/app.{{.ChecksumType}}" },
    { type: "manifest", output: "out/manifest.json" },
  ];
  const plain: Unit = { type: "docker-save", path: "out/plain.tar" };
  const tag = (...tags: string[]): Unit => ({ type: "docker-tag", repository: project, tags });
  const stack = await createStack(t, project, declareApp(project, [files, [tag("1", "2")], [plain]]));

  await stack.up();
  const { "app-imageId": imageId, "app-buildId": buildId } = await stack.outputs();
  assert.deepEqual(listFiles(stack), ["app.sha256", "app.tar.gz", "manifest.json", "plain.tar"]);
  const packed = fs.readFileSync(path.join(stack.folder, "out/app.tar.gz"));
  const hash = createHash("sha256").update(packed).digest("hex");
  assert.equal(fs.readFileSync(path.join(stack.folder, "out/app.sha256"), "utf8"), `${hash}\tapp.tar.gz\n`);

  // A tag and a file go, another tag comes; the rest is not run again.
  stack.declare(
    declareApp(project, [files, [tag("2", "3")], [{ type: "docker-tag", repository: `${project}-b` }]]),
  );
  const { text } = await stack.up();
  assert.deepEqual(listSteps(text), [`tag: ${project}:2, ${project}:3`, `tag: ${project}-b:latest`]);
  assert.deepEqual(listFiles(stack), ["app.sha256", "app.tar.gz", "manifest.json"]);
  const names = (await inspectImage(String(imageId)))["RepoTags"] as string[];
  assert.deepEqual(names.filter((name) => name.startsWith(project)).sort(), [
    `${project}-b:latest`,
    `${project}:2`,
    `${project}:3`,
  ]);
  assert.equal((await stack.outputs())["app-buildId"], buildId);

  await stack.destroy();
  assert.deepEqual(listFiles(stack), []);
  assert.equal(await imageExists(String(imageId)), false);
});

function declareExport(content: string): Program {
  const provisioners = [{ type: "shell", inline: [`echo ${content} > /made`] }];
  return {
    images: {
      files: { image: tinyImage(), provisioners, exportPath: "out/files.tar" },
      nothing: { image: tinyImage(), provisioners, discard: true },
    },
  };
}

test("an export is a file that is looked after like an image; with `discard` nothing stays", async (t) => {
  const project = `export-${process.pid}`;
  const stack = await createStack(t, project, declareExport("one"));
  const file = path.join(stack.folder, "out/files.tar");

  await stack.up();
  const first = await stack.outputs();
  assert.equal(first["files-imageId"], "");
  assert.equal(first["nothing-imageId"], "");
  assert.equal(fs.statSync(file).size, first["files-sizeBytes"]);
  assert.deepEqual(await listClaimTags(project), []);
  assert.match((await stack.up("--refresh")).text, /3 unchanged/);

  // Both write the same file: the delete of the old resource must leave it.
  stack.declare(declareExport("two"));
  await stack.up();
  const second = await stack.outputs();
  assert.notEqual(second["files-buildId"], first["files-buildId"]);
  assert.equal(fs.statSync(file).size, second["files-sizeBytes"]);

  fs.rmSync(file);
  const { text } = await stack.up("--refresh");
  assert.match(text, /gone: out\/files\.tar does not exist any more/);
  assert.equal(fs.existsSync(file), true);

  await stack.destroy();
  assert.deepEqual(listFiles(stack), []);
});
