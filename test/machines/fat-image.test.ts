import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test, type TestContext } from "node:test";
import fc from "fast-check";
import { writeFloppy } from "../../src/machines/fat-image";
import type { MediaFile } from "../../src/machines/media";
import { makeFolder } from "../support/context";
import { readFloppy } from "./fat-reader";
import { missingReaders, runReader } from "./media-readers";
import { listContents, mediaFiles } from "./media-trees";

async function write(t: TestContext, files: readonly MediaFile[], label = "cidata"): Promise<string> {
  const file = path.join(makeFolder(t), "floppy.img");
  await writeFloppy(file, files, { label });
  return file;
}

function text(name: string, content: string): MediaFile {
  return { name, content: Buffer.from(content) };
}

async function read(t: TestContext, files: readonly MediaFile[]): Promise<ReturnType<typeof readFloppy>> {
  return readFloppy(fs.readFileSync(await write(t, files)));
}

test("files are found by long and short names, with their contents", async (t) => {
  const files = [
    text("Autounattend.xml", "<x/>"),
    text("preseed.cfg", "p".repeat(1000)),
    text("AUTOEXEC.BAT", "rem"),
    text("drivers/net/Some driver.inf", "inf"),
    text("empty", ""),
  ];
  const { label, entries } = await read(t, files);
  assert.equal(label, "cidata");
  assert.deepEqual(
    [...entries].map(([name, { content }]) => [name, content]).sort(([a = ""], [b = ""]) => (a < b ? -1 : 1)),
    listContents(files),
  );
  assert.deepEqual([...entries.values()].map(({ shortName }) => shortName).sort(), [
    "AUTOEXEC.BAT",
    "AUTOUN~1.XML",
    "DRIVERS",
    "EMPTY",
    "NET",
    "PRESEED.CFG",
    "SOMEDR~1.INF",
  ]);
});

test("whatever files there are, they are found again", async (t) => {
  await fc.assert(
    fc.asyncProperty(mediaFiles, async (files) => {
      const { entries } = await read(t, files);
      const found = [...entries].map(([name, { content }]): [string, Buffer | undefined] => [name, content]);
      assert.deepEqual(
        found.sort(([a], [b]) => (a < b ? -1 : 1)),
        listContents(files),
      );
    }),
    { numRuns: 60 },
  );
});

test("the same files in another order give the same bytes", async (t) => {
  const files = [text("b", "1"), text("a/x", "2"), text("long name of c", "3")];
  const [first, second] = [await write(t, files), await write(t, [...files].reverse())];
  assert.ok(fs.readFileSync(first).equals(fs.readFileSync(second)));
});

test("a floppy can be filled to its last byte, and not by one more", async (t) => {
  const full = { name: "full", content: Buffer.alloc(2847 * 512, 7) };
  const { entries } = await read(t, [full]);
  assert.ok(entries.get("full")?.content?.equals(full.content));
  await assert.rejects(
    write(t, [full, text("one", "x")]),
    /Making the floppy .*: 2 files need 1458176 bytes, and a floppy has 1457664\. The largest: full 1457664, one 1\. Use a CD\./,
  );
});

test("the names in the root must fit into it; those in folders need not", async (t) => {
  const files = (prefix: string, count: number): MediaFile[] =>
    Array.from({ length: count }, (_, index) => text(`${prefix}F${index}.TXT`, ""));
  assert.equal((await read(t, files("", 223))).entries.size, 223);
  await assert.rejects(write(t, files("", 224)), /root take 225 entries, and it has 224/);
  assert.equal((await read(t, files("D/", 1000))).entries.size, 1001);
});

for (const [name, reason] of [
  ['a"b', /cannot have "\\"" there/],
  ["a:b", /cannot have ":" there/],
  ["a.", /cannot have "\." there/],
  ["a\u0001", /cannot have/],
] as const)
  test(`a name that no reader would take is refused: ${JSON.stringify(name)}`, async (t) => {
    await assert.rejects(write(t, [text(name, "")]), reason);
  });

test("names that differ only by case are refused", async (t) => {
  await assert.rejects(
    write(t, [text("README", ""), text("readme", "")]),
    /"readme" on a floppy: it has "README"/,
  );
});

test("a label that is none is named", async (t) => {
  for (const label of ["é", "x".repeat(12)])
    await assert.rejects(write(t, [], label), /the label ".*" is not up to 11/);
});

test(
  "fsck.fat finds nothing wrong, and mtools reads the same from it",
  { skip: missingReaders() },
  async (t) => {
    const files = [
      text("Autounattend.xml", "<x/>"),
      text("späte/ordner/Datei mit Namen.txt", "x".repeat(3000)),
      ...Array.from({ length: 100 }, (_, index) => text(`many/${"name ".repeat(20)}${index}`, String(index))),
    ];
    const image = await write(t, files);
    assert.match(runReader("fsck.fat", "-n", "-v", image), /Checking for unused clusters\.\n.*: 106 files, /);
    const out = path.join(path.dirname(image), "out");
    fs.mkdirSync(out);
    runReader("mcopy", "-s", "-i", image, "::/", out);
    for (const [name, content] of listContents(files))
      if (content) assert.ok(fs.readFileSync(path.join(out, name)).equals(content), name);
    assert.match(runReader("mlabel", "-s", "-i", image, "::"), /cidata/i);
  },
);
