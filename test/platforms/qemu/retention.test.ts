/** What becomes of image files from one run of Pulumi to the next: where they are, who shares them, which of them stay. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { afterEach, beforeEach, test } from "node:test";
import { FakeQemuDriver, writeSourceDisk } from "./fake-driver";
import {
  create,
  deleteReplaced,
  destroy,
  efi,
  endOwners,
  listImages,
  listLeft,
  mustCreate,
  resetFolders,
  type Made,
  type Resource,
} from "./provider-run";

const app: Resource = { stack: "dev", name: "app", lineage: "0000", options: { cache: false } };
const prod: Resource = { ...app, stack: "prod", lineage: "1111" };

let driver = new FakeQemuDriver();
beforeEach(() => {
  resetFolders();
  driver = new FakeQemuDriver();
});
afterEach(() => driver.world.killAll());

/** Of versions 1, 2 and 3. */
const [ONE, TWO, THREE] = ["31", "32", "33"].map((hex) => `images/app-${hex.padEnd(12, "0")}.qcow2`) as [
  string,
  string,
  string,
];

function countBuilds(): number {
  return driver.world.starts.length;
}

async function replace(before: Made, version: string, more: { keep?: number } = {}): Promise<Made> {
  const made = await mustCreate({ driver, ...more }, app, version);
  await deleteReplaced(before);
  return made;
}

function assertWhole(made: Made): void {
  const bytes = fs.readFileSync(String(made.outs["path"]));
  assert.equal(made.outs["sha256"], createHash("sha256").update(bytes).digest("hex"));
}

test("the replaced image stays, going back needs no build, and a destroy removes all", async () => {
  const one = await mustCreate({ driver }, app, "1");
  assert.equal(one.outs["path"], ONE);
  assertWhole(one);
  const two = await replace(one, "2");
  assert.deepEqual(listImages(), [ONE, TWO]);
  const back = await replace(two, "1");
  assert.equal(countBuilds(), 2);
  assert.equal(back.outs["path"], ONE);
  const three = await replace(back, "3");
  assert.deepEqual(listImages(), [ONE, THREE], "one is kept, not two");
  await destroy(driver, app, three);
  assert.deepEqual(listLeft(), []);
});

test("an image that a machine has written to is not taken again: going back builds another beside it", async () => {
  const two = await replace(await mustCreate({ driver }, app, "1"), "2");
  fs.appendFileSync(ONE, " ");
  const back = await replace(two, "1");
  assert.equal(countBuilds(), 3);
  assert.notEqual(back.outs["path"], ONE);
  assertWhole(back);
  await destroy(driver, app, back);
  assert.deepEqual(listLeft(), []);
});

test("with keep 0 the replaced image goes", async () => {
  const two = await replace(await mustCreate({ driver, keep: 0 }, app, "1"), "2", { keep: 0 });
  assert.deepEqual(listImages(), [TWO]);
  await destroy(driver, app, two);
  assert.deepEqual(listLeft(), []);
});

test("a rebuild that was asked for lies beside the first until that is deleted", async () => {
  const one = await mustCreate({ driver }, app, "1");
  const again = await mustCreate({ driver, moved: false }, app, "1");
  assert.equal(countBuilds(), 2);
  assert.match(String(again.outs["path"]), /^images\/app-310000000000-[0-9a-f]{4}\.qcow2$/);
  await deleteReplaced(one);
  assert.deepEqual(listImages(), [again.outs["path"]]);
  await destroy(driver, app, again);
  assert.deepEqual(listLeft(), []);
});

test("two stacks with one folder share the file until the last goes", async () => {
  const one = await mustCreate({ driver }, app, "1");
  const other = await mustCreate({ driver }, prod, "1");
  assert.equal(countBuilds(), 1);
  assert.equal(other.outs["path"], ONE);
  await destroy(driver, app, one);
  assert.deepEqual(listImages(), [ONE]);
  await destroy(driver, prod, other);
  assert.deepEqual(listLeft(), []);
});

for (const [what, other, file] of [
  ["of another name", { ...prod, name: "web" }, "images/web-310000000000.qcow2"],
  [
    "with another folder",
    { ...prod, options: { ...app.options, outputDirectory: "out" } },
    "out/app-310000000000.qcow2",
  ],
] as [string, Resource, string][])
  test(`a resource ${what} gets a copy of its own, which outlives the first`, async () => {
    const one = await mustCreate({ driver }, app, "1");
    const second = await mustCreate({ driver }, other, "1");
    assert.equal(countBuilds(), 1);
    assert.equal(second.outs["path"], file);
    assert.deepEqual(listImages(), [ONE, file].sort());
    await destroy(driver, app, one);
    assert.deepEqual(listImages(), [file]);
    assertWhole(second);
    await destroy(driver, other, second);
    assert.deepEqual(listLeft(), []);
  });

test("with another folder the image is there without a build, and the old file goes", async () => {
  const options = { cache: false, efi };
  const one = await mustCreate({ driver }, { ...app, options }, "1");
  assert.equal(listImages().length, 2);
  const moved = await mustCreate(
    { driver },
    { ...app, options: { ...options, outputDirectory: "new" } },
    "1",
  );
  await deleteReplaced(one);
  assert.equal(countBuilds(), 1);
  const files = ["new/app-310000000000-efivars.fd", "new/app-310000000000.qcow2"];
  assert.deepEqual(listImages(), files);
  assert.equal(moved.outs["efiVariablesPath"], files[0]);
  assertWhole(moved);
  await destroy(driver, app, moved);
  assert.deepEqual(listLeft(), []);
});

test("a copy that fails leaves nothing", async () => {
  const one = await mustCreate({ driver }, app, "1");
  const other = { ...prod, name: "web" };
  const { copyFile } = fs.promises;
  fs.promises.copyFile = () => Promise.reject(new Error("the disk is full"));
  try {
    assert.equal(await create({ driver }, other, "1"), undefined);
  } finally {
    fs.promises.copyFile = copyFile;
  }
  assert.deepEqual(listImages(), [ONE]);
  await destroy(driver, app, one);
  assert.deepEqual(listLeft(), []);
});

test("half a copy, of a process that died, goes with the next run", async () => {
  const one = await mustCreate({ driver }, app, "1");
  const other = { ...prod, name: "web" };
  const { copyFile } = fs.promises;
  let end = (): void => undefined;
  const copying = new Promise<void>((resolve) => {
    fs.promises.copyFile = (_from, to) => {
      fs.writeFileSync(to, "half");
      resolve();
      return new Promise((_, reject) => (end = () => reject(new Error("dead"))));
    };
  });
  const dying = create({ driver }, other, "1");
  await copying;
  fs.promises.copyFile = copyFile;
  endOwners();
  assert.equal(listImages().filter((name) => name.endsWith(".draft")).length, 1);
  const made = await mustCreate({ driver }, other, "1");
  assert.deepEqual(listImages(), [ONE, "images/web-310000000000.qcow2"]);
  await destroy(driver, other, made);
  await destroy(driver, app, one);
  assert.deepEqual(listLeft(), []);
  end();
  await dying;
});

test("two stacks that build the same image at once each have their own file", async () => {
  const { convertDisk } = driver;
  let waiting = 0;
  let goOn = (): void => undefined;
  const bothAreThere = new Promise<void>((resolve) => (goOn = resolve));
  driver.convertDisk = async (options) => {
    if (++waiting === 2) goOn();
    await bothAreThere;
    return convertDisk.call(driver, options);
  };
  const [one, other] = await Promise.all([
    mustCreate({ driver }, app, "1"),
    mustCreate({ driver }, prod, "1"),
  ]);
  assert.notEqual(one.outs["path"], other.outs["path"]);
  assertWhole(one);
  assertWhole(other);
  await destroy(driver, app, one);
  assertWhole(other);
  await destroy(driver, prod, other);
  assert.deepEqual(listLeft(), []);
});

test("an adopted file is used where it is, gone back to, and never removed", async () => {
  writeSourceDisk("base/mine.qcow2", "made by hand");
  const adopting = { ...app, options: { ...app.options, adopt: "base/mine.qcow2" } };
  const one = await mustCreate({ driver, moved: false }, adopting, "1");
  assert.equal(one.outs["path"], "base/mine.qcow2");
  assert.equal(countBuilds(), 0);
  const two = await mustCreate({ driver }, adopting, "2");
  await deleteReplaced(one);
  const back = await mustCreate({ driver }, adopting, "1");
  await deleteReplaced(two);
  assert.equal(back.outs["path"], "base/mine.qcow2");
  assert.equal(countBuilds(), 1);
  await destroy(driver, adopting, back);
  assert.deepEqual(listLeft(), []);
  assert.ok(fs.existsSync("base/mine.qcow2"));
});
