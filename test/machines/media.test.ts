import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test, type TestContext } from "node:test";
import { listFlatMediaFiles, listMediaFiles, type MediaFile } from "../../src/machines/media";
import { makeFolder } from "../support/context";

/** A folder with files that hold their own paths. */
function makeTree(t: TestContext, ...files: string[]): string {
  const folder = makeFolder(t);
  for (const file of files) {
    fs.mkdirSync(path.join(folder, path.dirname(file)), { recursive: true });
    fs.writeFileSync(path.join(folder, file), file);
  }
  return folder;
}

/** `name=content`. */
function show(files: readonly MediaFile[]): string[] {
  return files.map((file) => {
    const content = "content" in file ? file.content : fs.readFileSync(file.path);
    return `${file.name}=${content.toString()}`;
  });
}

const tree = ["top", "d/a.txt", "d/.hidden", "d/sub/b.txt", "d/sub/c.cfg", "e/a.txt", "odd[1]"];

const cases: [paths: string[], found: string[]][] = [
  [["top"], ["top=top"]],
  [["d/a.txt"], ["a.txt=d/a.txt"]],
  [["d"], ["d/.hidden=d/.hidden", "d/a.txt=d/a.txt", "d/sub/b.txt=d/sub/b.txt", "d/sub/c.cfg=d/sub/c.cfg"]],
  [["d/sub"], ["sub/b.txt=d/sub/b.txt", "sub/c.cfg=d/sub/c.cfg"]],
  [["d/sub/"], ["b.txt=d/sub/b.txt", "c.cfg=d/sub/c.cfg"]],
  [["./d/sub/."], ["b.txt=d/sub/b.txt", "c.cfg=d/sub/c.cfg"]],
  [["d/sub/../sub"], ["sub/b.txt=d/sub/b.txt", "sub/c.cfg=d/sub/c.cfg"]],
  [
    ["top*", "d/sub/?.txt"],
    ["top=top", "b.txt=d/sub/b.txt"],
  ],
  [["d/*"], [".hidden=d/.hidden", "a.txt=d/a.txt", "sub/b.txt=d/sub/b.txt", "sub/c.cfg=d/sub/c.cfg"]],
  [["*/a.txt"], ["a.txt=e/a.txt"]],
  [["d/sub/?.[b-c]fg"], ["c.cfg=d/sub/c.cfg"]],
  [["d/sub/[^c]*"], ["b.txt=d/sub/b.txt"]],
  [["d/*/"], ["b.txt=d/sub/b.txt", "c.cfg=d/sub/c.cfg"]],
  [["odd[[]1]"], ["odd[1]=odd[1]"]],
  [
    ["d/a.txt", "top", "e/a.txt"],
    ["a.txt=e/a.txt", "top=top"],
  ],
];

for (const [paths, found] of cases)
  test(`${paths.join(" ")} gives ${found.join(", ")}`, async (t) => {
    assert.deepEqual(show(await listMediaFiles(paths, {}, makeTree(t, ...tree))), found);
  });

test("absolute paths and patterns are taken too", async (t) => {
  const folder = makeTree(t, ...tree);
  assert.deepEqual(show(await listMediaFiles([`${folder}/d/sub`], {}, "/")), [
    "sub/b.txt=d/sub/b.txt",
    "sub/c.cfg=d/sub/c.cfg",
  ]);
  assert.deepEqual(show(await listMediaFiles([`${folder}/t*`], {}, "/")), ["top=top"]);
});

test("content counts more than files, and needs none", async (t) => {
  const folder = makeTree(t, ...tree);
  assert.deepEqual(show(await listMediaFiles(["d/sub/"], { "/b.txt": "mine", "x/y": "z" }, folder)), [
    "b.txt=mine",
    "c.cfg=d/sub/c.cfg",
    "x/y=z",
  ]);
  assert.deepEqual(show(await listMediaFiles([], { a: "b" }, "/nowhere")), ["a=b"]);
});

test("on a floppy all files are in the root, but content keeps its place", async (t) => {
  const folder = makeTree(t, ...tree);
  assert.deepEqual(show(await listFlatMediaFiles(["d", "t*"], { "x/y": "z" }, folder)), [
    ".hidden=d/.hidden",
    "a.txt=d/a.txt",
    "b.txt=d/sub/b.txt",
    "c.cfg=d/sub/c.cfg",
    "top=top",
    "x/y=z",
  ]);
});

test("an empty folder stays", async (t) => {
  const folder = makeTree(t, "d/a");
  fs.mkdirSync(path.join(folder, "d", "empty"));
  assert.deepEqual(show(await listMediaFiles(["d"], {}, folder)), ["d/a=d/a", "d/empty/="]);
  assert.deepEqual(show(await listFlatMediaFiles(["d"], {}, folder)), ["a=d/a"]);
});

test("links are followed, but not in circles", async (t) => {
  const folder = makeTree(t, "d/a", "other/b");
  fs.symlinkSync("../other", path.join(folder, "d", "link"));
  fs.symlinkSync("a", path.join(folder, "d", "z"));
  assert.deepEqual(show(await listMediaFiles(["d"], {}, folder)), ["d/a=d/a", "d/link/b=other/b", "d/z=d/a"]);
  fs.symlinkSync("../d", path.join(folder, "other", "back"));
  await assert.rejects(
    listMediaFiles(["d"], {}, folder),
    /back is a link that leads back to .*\/d\. Remove it/,
  );
});

test("what is not there is named", async (t) => {
  const folder = makeTree(t, ...tree);
  await assert.rejects(
    listMediaFiles(["nothing"], {}, folder),
    /Reading .*\/nothing for a medium: it does not exist/,
  );
  await assert.rejects(listMediaFiles(["top?"], {}, folder), /nothing matches "top\?"/);
  await assert.rejects(listMediaFiles(["d/*.iso"], {}, folder), /nothing matches "d\/\*\.iso" in /);
});
