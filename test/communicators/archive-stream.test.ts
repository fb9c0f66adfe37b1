import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { streamArchive } from "../../src/communicators/transfer/archive-stream";
import { hashAll, planUpload } from "../../src/communicators/transfer/plan";
import { makeFolder } from "../support/context";
import { never } from "../support/sshd";
import { makeLargeFile } from "./random-tree";

for (const changedAt of [0, 900_000])
  test(`a file that is written to at ${changedAt}, after the first piece was read, is not taken for what was read`, async (t) => {
    const file = makeLargeFile(makeFolder(t), "large", 1);
    const plan = await planUpload({ path: file }, "/", never);
    const archive = streamArchive(plan.entries);
    await archive.next(); // the header
    await archive.next();
    const open = fs.openSync(file, "r+");
    fs.writeSync(open, "changed", changedAt);
    fs.closeSync(open);
    await assert.rejects(async () => {
      while (!(await archive.next()).done);
    }, /large changed while it was read/);
  });

test("a single file of any size is not read before it is sent, and its hash is known after, either way", async (t) => {
  const file = makeLargeFile(makeFolder(t), "large", 70);
  const expected = createHash("sha256").update(fs.readFileSync(file)).digest("hex");
  const plan = await planUpload({ path: path.basename(file) }, path.dirname(file), never);
  assert.deepEqual(
    plan.files.map(({ hash }) => hash),
    [""],
  );
  let sizeBytes = 0;
  for await (const piece of streamArchive(plan.entries)) sizeBytes += piece.length;
  assert.ok(sizeBytes > plan.sizeBytes);
  assert.deepEqual(
    plan.files.map(({ hash }) => hash),
    [expected],
  );
  const again = await planUpload({ path: file }, "/", never);
  await hashAll(again.files, never);
  assert.deepEqual(
    again.files.map(({ hash }) => hash),
    [expected],
  );
});

test("a large file that was written to after it was listed is named where its hash is asked for", async (t) => {
  const file = makeLargeFile(makeFolder(t), "large", 70);
  const plan = await planUpload({ path: file }, "/", never);
  fs.appendFileSync(file, "more");
  await assert.rejects(hashAll(plan.files, never), /large changed while it was read/);
});
