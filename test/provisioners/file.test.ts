import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { validate } from "../../src/core/schema";
import { definition, type FileOptions } from "../../src/provisioners/file";
import { inContext } from "../support/context";
import { FakeCommunicator } from "../support/fake-communicator";

/** Packer's rules of the trailing slash: source, destination, where it goes. */
const UPLOADS: [string, string, string][] = [
  ["file.txt", "/etc/app.conf", "/etc/app.conf"],
  ["file.txt", "/etc/", "/etc/file.txt"],
  ["folder", "/srv", "/srv/folder/"],
  ["folder", "/srv/", "/srv/folder/"],
  ["folder/", "/srv", "/srv/"],
  ["folder/", "/srv/", "/srv/"],
];

for (const [source, destination, expected] of UPLOADS) {
  test(`uploading ${source} to ${destination} writes ${expected}`, async (t) => {
    const machine = new FakeCommunicator();
    await inContext(t, async (context) => {
      fs.mkdirSync(path.join(context.cwd, "folder"));
      fs.writeFileSync(path.join(context.cwd, "file.txt"), "x");
      await definition.create({ source, destination }, undefined).provision(context, machine);
    });
    assert.deepEqual([...machine.files.keys()], [expected]);
  });
}

test("a download makes the folders that it needs", async (t) => {
  const machine = new FakeCommunicator();
  await inContext(t, async (context) => {
    const download = (source: string, destination: string): Promise<void> =>
      definition
        .create({ source, destination, direction: "download" }, undefined)
        .provision(context, machine);
    await download("/var/log/app.log", "logs/");
    await download("/var/log/", "all/logs");
    assert.deepEqual(
      machine.downloads.map(({ local, folder }) => [path.relative(context.cwd, local), folder]),
      [
        ["logs/app.log", false],
        ["all/logs", true],
      ],
    );
    assert.ok(fs.statSync(path.join(context.cwd, "logs")).isDirectory());
    assert.ok(fs.statSync(path.join(context.cwd, "all/logs")).isDirectory());
  });
});

test("what cannot be meant is refused", () => {
  const reasons = (options: Partial<FileOptions>): string[] =>
    validate(definition.schema, options).map(({ reason }) => reason);
  assert.deepEqual(reasons({ source: "a" }), ["missing; expected a string"]);
  assert.deepEqual(reasons({ destination: "/a" }), ["expected `source`, `sources` or `content`, got none"]);
  assert.deepEqual(reasons({ destination: "/a", source: "a", content: "b" }), [
    "expected `content` or a source, got both",
  ]);
  assert.deepEqual(reasons({ destination: "/a", content: "b", direction: "download" }), [
    "`content` cannot be downloaded; remove `direction`",
  ]);
});
