import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import type { Readable } from "node:stream";
import * as tar from "tar-stream";
import { fetchInto } from "../../src/communicators/transfer/place";
import { unpackTar } from "../../src/communicators/transfer/unpack";
import { makeFolder } from "../support/context";

function unpackFolder(archive: Readable, local: string): Promise<void> {
  return fetchInto({ local, folder: true }, (stage) => unpackTar(archive, stage, { strip: 1 }));
}

function unpackFile(archive: Readable, local: string): Promise<void> {
  return fetchInto({ local, folder: false }, (stage) => unpackTar(archive, stage));
}

interface Packed extends Partial<tar.Header> {
  name: string;
  content?: string;
}

function pack(...entries: Packed[]): Readable {
  const archive = tar.pack();
  for (const { content = "", ...header } of entries)
    if (header.type === undefined || header.type === "file") archive.entry(header, content);
    else archive.entry(header);
  archive.finalize();
  return archive as unknown as Readable;
}

const logs: Packed = { name: "logs/", type: "directory", mode: 0o755 };

test("a folder comes without its own name, with modes and times; a file under the name that it gets", async (t) => {
  const cwd = makeFolder(t);
  const mtime = new Date("2001-02-03T04:05:06Z");
  const inner: Packed = { name: "logs/a/", type: "directory", mode: 0o750 };
  const target = path.join(cwd, "new", "out");
  await unpackFolder(
    pack(logs, inner, { name: "logs/a/b.log", content: "content", mode: 0o640, mtime }),
    target,
  );
  const file = path.join(target, "a/b.log");
  assert.equal(fs.readFileSync(file, "utf8"), "content");
  assert.deepEqual([fs.statSync(file).mode & 0o777, fs.statSync(file).mtimeMs], [0o640, mtime.getTime()]);
  assert.equal(fs.statSync(path.join(target, "a")).mode & 0o777, 0o750);
  assert.deepEqual(fs.readdirSync(target), ["a"]);
  await unpackFile(pack({ name: "app.log", content: "one" }), path.join(cwd, "one.log"));
  assert.equal(fs.readFileSync(path.join(cwd, "one.log"), "utf8"), "one");
});

test("nothing is put in place of an archive that leads outside, writes through its own link or is cut", async (t) => {
  const cwd = makeFolder(t);
  const outside = path.join(cwd, "outside");
  fs.mkdirSync(outside);
  const target = path.join(cwd, "out");
  const first: Packed = { name: "logs/first.log", content: "text" };
  const cases: [Packed[], RegExp][] = [
    [[{ name: "logs/../../evil" }], /leads outside/],
    [[{ name: "logs/way", type: "symlink", linkname: outside }, { name: "logs/way/evil" }], /ENOENT/],
    [
      [{ name: "logs/second.log", type: "link", linkname: "logs/else.log" }],
      /hard link to a file that is not/,
    ],
  ];
  for (const [entries, reason] of cases) {
    await assert.rejects(unpackFolder(pack(logs, first, ...entries), target), reason);
    assert.deepEqual([fs.readdirSync(target), fs.readdirSync(outside)], [[], []], String(reason));
  }
  const cut = fetchInto({ local: target, folder: true }, (stage) => {
    const archive = pack(logs, first);
    archive.once("data", () => archive.destroy(new Error("the engine hung up")));
    return unpackTar(archive, stage, { strip: 1 });
  });
  await assert.rejects(cut, /the engine hung up/);
  assert.deepEqual(fs.readdirSync(target), []);
});

test("hard links become files, symlinks stay what they are", async (t) => {
  const target = path.join(makeFolder(t), "out");
  await unpackFolder(
    pack(
      logs,
      { name: "logs/first.log", content: "text" },
      { name: "logs/second.log", type: "link", linkname: "logs/first.log" },
      { name: "logs/third.log", type: "symlink", linkname: "first.log" },
    ),
    target,
  );
  assert.equal(fs.readFileSync(path.join(target, "second.log"), "utf8"), "text");
  assert.equal(fs.statSync(path.join(target, "second.log")).nlink, 1);
  assert.equal(fs.readlinkSync(path.join(target, "third.log")), "first.log");
});
