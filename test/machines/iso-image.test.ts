import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test, type TestContext } from "node:test";
import fc from "fast-check";
import { writeIso, type IsoOptions } from "../../src/machines/iso-image";
import type { MediaFile } from "../../src/machines/media";
import { makeFolder } from "../support/context";
import { readIso, type IsoVolume } from "./iso-reader";
import { missingReaders, runReader } from "./media-readers";
import { listContents, mediaFiles } from "./media-trees";

async function write(
  t: TestContext,
  files: readonly MediaFile[],
  options: Partial<IsoOptions> = {},
): Promise<string> {
  const file = path.join(makeFolder(t), "cd.iso");
  await writeIso(file, files, { label: "cidata", ...options });
  return file;
}

function text(name: string, content: string): MediaFile {
  return { name, content: Buffer.from(content) };
}

function listVolume(volume: IsoVolume): [string, Buffer | undefined][] {
  return [...volume.entries]
    .map(([name, { content }]): [string, Buffer | undefined] => [name, content])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

test("both trees of an image have the files, the label and the sizes", async (t) => {
  const files = [
    text("user-data", "#cloud-config\n"),
    text("a/b/c.txt", "x".repeat(5000)),
    text("empty", ""),
  ];
  const { primary, joliet } = readIso(fs.readFileSync(await write(t, files)));
  for (const volume of [primary, joliet]) {
    assert.equal(volume.label, "cidata");
    assert.deepEqual(listVolume(volume), listContents(files));
  }
  assert.deepEqual(primary.identifiers.sort(), ["A", "B", "C.TXT;1", "EMPTY.;1", "USER_DAT.;1"]);
});

test("an image without files is one", async (t) => {
  const { primary, joliet } = readIso(fs.readFileSync(await write(t, [])));
  assert.deepEqual([primary.entries.size, joliet.entries.size], [0, 0]);
});

test("whatever files there are, Rock Ridge has them all by their names, and Joliet too", async (t) => {
  await fc.assert(
    fc.asyncProperty(mediaFiles, async (files) => {
      const { primary, joliet } = readIso(fs.readFileSync(await write(t, files)));
      const expected = listContents(files);
      assert.deepEqual(listVolume(primary), expected);
      assert.equal(joliet.entries.size, expected.length);
      for (const [name, content] of expected)
        if (!name.includes(";") && name.split("/").every((part) => part.length <= 103))
          assert.deepEqual(joliet.entries.get(name)?.content, content);
    }),
    { numRuns: 60 },
  );
});

test("the same files in another order, at another time and place, give the same bytes", async (t) => {
  const folder = makeFolder(t);
  fs.writeFileSync(path.join(folder, "local"), "content");
  const files: MediaFile[] = [
    text("b", "1"),
    text("a/x", "2"),
    { name: "c", path: path.join(folder, "local") },
  ];
  const first = fs.readFileSync(await write(t, files));
  fs.utimesSync(path.join(folder, "local"), 1, 1);
  const second = fs.readFileSync(await write(t, [...files].reverse()));
  assert.ok(first.equals(second));
  assert.ok(!first.equals(fs.readFileSync(await write(t, [text("b", "2"), ...files.slice(1)]))));
});

test("a local file keeps whether it can be executed", async (t) => {
  const folder = makeFolder(t);
  for (const [name, mode] of [
    ["run.sh", 0o755],
    ["plain", 0o640],
  ] as const)
    fs.writeFileSync(path.join(folder, name), name, { mode });
  const files = ["run.sh", "plain"].map((name) => ({ name, path: path.join(folder, name) }));
  const { primary } = readIso(fs.readFileSync(await write(t, files)));
  assert.equal(primary.entries.get("run.sh")?.mode, 0o100555);
  assert.equal(primary.entries.get("plain")?.mode, 0o100444);
});

test("a file too long for one extent goes on in others", async (t) => {
  const content = Buffer.from(Array.from({ length: 10_000 }, (_, index) => index % 251));
  const options = { largestExtentBytes: 4096 };
  const { primary, joliet } = readIso(
    fs.readFileSync(await write(t, [{ name: "big", content }, text("c", "c")], options)),
  );
  for (const volume of [primary, joliet]) assert.ok(volume.entries.get("big")?.content?.equals(content));
});

test("thousands of files that begin alike have names of their own", async (t) => {
  const files = Array.from({ length: 3000 }, (_, index) =>
    text(`drivers/common-prefix-${index}.inf`, String(index)),
  );
  const { primary } = readIso(fs.readFileSync(await write(t, files)));
  assert.equal(new Set(primary.identifiers).size, 3001);
  assert.equal(primary.entries.get("drivers/common-prefix-2999.inf")?.content?.toString(), "2999");
});

test("a file that changes its size while it is read is named, and no image is left", async (t) => {
  const folder = makeFolder(t);
  const source = path.join(folder, "growing");
  fs.writeFileSync(source, "short");
  const iso = path.join(folder, "cd.iso");
  const real = fs.promises.stat;
  t.mock.method(fs.promises, "stat", async (name: string) => Object.assign(await real(name), { size: 3 }));
  await assert.rejects(
    writeIso(iso, [{ name: "a", path: source }], { label: "x" }),
    /Making the CD .*growing on a medium: its size changed from 3 bytes/,
  );
  assert.ok(!fs.existsSync(iso));
});

for (const [files, reason] of [
  [[text("../x", "")], /"\.\.\/x" on a medium: its path has an empty part/],
  [[text("a//b", "")], /empty part/],
  [[text("a", ""), text("a/b", "")], /"a\/b" on a medium: there are two of the name "a"/],
  [[text("a", ""), text("a", "")], /two of the name "a"/],
  [[text("é".repeat(128), "")], /256 bytes is longer than 255/],
  [[{ name: "a", path: "/nowhere/a" }], /\/nowhere\/a/],
] as [MediaFile[], RegExp][])
  test(`it is said what cannot be put on it: ${reason.source}`, async (t) => {
    await assert.rejects(write(t, files), reason);
  });

test("a label that is none is named", async (t) => {
  for (const label of ["", "é", "x".repeat(33)])
    await assert.rejects(write(t, [], { label }), /the label ".*" is not/);
});

test("xorriso and isoinfo read the same from it", { skip: missingReaders() }, async (t) => {
  const long = `${"long ".repeat(40)}x.conf`;
  const files = [
    text("user-data", "u"),
    text("späte/ordner/Datei mit Namen.txt", "x".repeat(3000)),
    text(long, "long"),
    ...Array.from({ length: 100 }, (_, index) => text(`many/${"name ".repeat(20)}${index}`, String(index))),
  ];
  const iso = await write(t, files, { largestExtentBytes: 2048 });
  const out = path.join(path.dirname(iso), "out");
  runReader("xorriso", "-abort_on", "WARNING", "-osirrox", "on", "-indev", iso, "-extract", "/", out);
  for (const [name, content] of listContents(files))
    if (content) assert.ok(fs.readFileSync(path.join(out, name)).equals(content), name);
  const described = runReader("isoinfo", "-d", "-i", iso);
  assert.match(described, /Joliet with UCS level 3 found\nRock Ridge signatures version 1 found/);
  assert.match(described, /Volume id: cidata\n/);
  assert.match(runReader("isoinfo", "-J", "-f", "-i", iso), /^\/sp.te\/ordner\/Datei mit Namen\.txt;1$/m);
  assert.match(runReader("isoinfo", "-f", "-i", iso), /^\/SP_TE\/ORDNER\/DATEI_MI\.TXT;1$/m);
});
