import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { writeWholeFile } from "../../src/core/whole-file";
import { makeFolder } from "../support/context";

test("a file is for its user alone, with the folders that it needs; a failed one leaves nothing", (t) => {
  const folder = makeFolder(t);
  const file = path.join(folder, "new", "file");
  writeWholeFile(file, "one");
  writeWholeFile(file, "two", { flush: true });
  assert.equal(fs.readFileSync(file, "utf8"), "two");
  assert.deepEqual(
    [fs.statSync(file).mode & 0o777, fs.statSync(path.dirname(file)).mode & 0o777],
    [0o600, 0o700],
  );
  assert.throws(() => writeWholeFile(path.join(folder, "new"), "over a folder"));
  assert.deepEqual(fs.readdirSync(folder), ["new"]);
  assert.deepEqual(fs.readdirSync(path.dirname(file)), ["file"]);
});
