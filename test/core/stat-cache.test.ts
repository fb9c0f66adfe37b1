import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";
import { EntryHasher } from "../../src/core/source-hash";
import { runJobInThreads } from "../../src/core/source-threads";
import { EntryBatch, entryKind } from "../../src/core/source-walk";
import { loadStatCache, locateStatCache, saveStatCache, touchStatCache } from "../../src/core/stat-cache";
import { hashPath, recordState } from "../../src/core/stat-record";
import { makeFiles, makeWorkFolder } from "./source-folders";

const { cwd, makeFolder, at } = makeWorkFolder();
const laterMs = Date.now() + 60_000;

let cacheCount = 0;
function locate(folder = "any"): ReturnType<typeof locateStatCache> {
  return locateStatCache(path.join(cwd, `cache-${++cacheCount}`), path.join(cwd, folder), []);
}

function cachePath(file: ReturnType<typeof locateStatCache>): string {
  const [name = "none"] = fs.readdirSync(file.folder);
  return path.join(file.folder, name);
}

/** Hashes one file as if at `startedMs`, with what a cache knows. */
function hashFile(
  folder: string,
  name: string,
  startedMs: number,
  file?: ReturnType<typeof locateStatCache>,
): EntryBatch {
  const batch = new EntryBatch([name], [entryKind.file]);
  const hasher = new EntryHasher(path.join(cwd, folder), startedMs, file && loadStatCache(file));
  hasher.hashBatch(batch);
  assert.deepEqual(hasher.problems, []);
  return batch;
}

describe("the cache of stats", () => {
  it("spares reading a file that has not changed", () => {
    const folder = makeFolder({ a: "one" });
    const file = locate(folder);
    const read = hashFile(folder, "a", laterMs);
    assert.equal(read.records.state(0), recordState.settled);
    saveStatCache(file, read.records.bytes);
    const known = hashFile(folder, "a", laterMs, file);
    assert.equal(known.records.state(0), recordState.cached);
    assert.deepEqual(known.records.hash(0), read.records.hash(0));
  });

  it("does not keep a file that changed just before it was hashed", () => {
    const folder = makeFolder({ a: "one" });
    assert.equal(hashFile(folder, "a", Date.now()).records.state(0), recordState.young);
    const { ctimeMs } = fs.statSync(at(folder, "a"));
    assert.equal(hashFile(folder, "a", ctimeMs + 3000).records.state(0), recordState.young);
    assert.equal(hashFile(folder, "a", ctimeMs + 3001).records.state(0), recordState.settled);
  });

  it("does not keep a file from the future of a coarse or wrong clock", () => {
    const folder = makeFolder({ a: "one" });
    fs.utimesSync(at(folder, "a"), laterMs / 1000 + 100, laterMs / 1000 + 100);
    assert.equal(hashFile(folder, "a", laterMs).records.state(0), recordState.young);
  });

  it("does not keep a file whose old mtime was given to it just now", () => {
    const folder = makeFolder({ a: "one" });
    fs.utimesSync(at(folder, "a"), 1, 1);
    assert.equal(hashFile(folder, "a", Date.now()).records.state(0), recordState.young);
  });

  for (const field of ["dev", "ino", "size", "mtimeMs", "ctimeMs"] as const) {
    it(`does not know a file with another ${field}`, () => {
      const folder = makeFolder({ a: "one" });
      const file = locate(folder);
      saveStatCache(file, hashFile(folder, "a", laterMs).records.bytes);
      const stats = fs.lstatSync(at(folder, "a"));
      assert.ok(loadStatCache(file).find(hashPath("a"), stats));
      assert.equal(loadStatCache(file).find(hashPath("b"), stats), undefined);
      stats[field] += 1;
      assert.equal(loadStatCache(file).find(hashPath("a"), stats), undefined);
    });
  }

  const changes: Record<string, (full: string) => void> = {
    "its content": (full) => fs.writeFileSync(full, "two"),
    "its content, with the same mtime": (full) => {
      const { atime, mtime } = fs.statSync(full);
      fs.writeFileSync(full, "two");
      fs.utimesSync(full, atime, mtime);
    },
    "its length": (full) => fs.appendFileSync(full, "!"),
    "its inode": (full) => {
      fs.writeFileSync(`${full}.new`, "two");
      fs.renameSync(`${full}.new`, full);
    },
    "its mode": (full) => fs.chmodSync(full, 0o755),
  };
  for (const [what, change] of Object.entries(changes)) {
    it(`does not know a file that changed ${what}`, () => {
      const folder = makeFolder({ a: "one" });
      const file = locate(folder);
      saveStatCache(file, hashFile(folder, "a", laterMs).records.bytes);
      waitForClock(at(folder, "a"));
      change(at(folder, "a"));
      assert.equal(hashFile(folder, "a", laterMs, file).records.state(0), recordState.settled);
    });
  }

  it("keeps every settled file of a source", async () => {
    const folder = makeFolder(makeFiles(700));
    const root = path.join(cwd, folder);
    const cacheDir = path.join(cwd, "whole");
    await runJobInThreads({ root, ignore: [], cacheDir, startedMs: laterMs, list: false });
    const file = locateStatCache(cacheDir, root, []);
    assert.equal(loadStatCache(file).records.count, 700);
    const writtenMs = fs.statSync(cachePath(file)).mtimeMs;
    await runJobInThreads({ root, ignore: [], cacheDir, startedMs: laterMs, list: false });
    assert.equal(fs.statSync(cachePath(file)).mtimeMs, writtenMs, "nothing new, nothing written");
    fs.writeFileSync(path.join(root, "d0/f7"), "CONTENT 7!");
    await runJobInThreads({ root, ignore: [], cacheDir, startedMs: laterMs, list: false });
    assert.ok(
      loadStatCache(file).find(hashPath("d0/f7"), fs.lstatSync(path.join(root, "d0/f7"))),
      "what changed is kept",
    );
  });

  it("takes what it knows for true", async () => {
    const folder = makeFolder(makeFiles(700));
    const root = path.join(cwd, folder);
    const job = { root, ignore: [], cacheDir: path.join(cwd, "believed"), startedMs: laterMs, list: false };
    const first = await runJobInThreads(job);
    const file = locateStatCache(job.cacheDir, root, []);
    const { records } = loadStatCache(file);
    for (let i = 0; i < records.count; i++) records.hash(i).fill(7);
    saveStatCache(file, records.bytes);
    assert.notDeepEqual(await runJobInThreads(job), first, "the files were read in spite of the cache");
  });
});

describe("a cache file", () => {
  const folder = makeFolder({ a: "one" });
  const sound = (): { file: ReturnType<typeof locateStatCache>; bytes: Buffer } => {
    const file = locate(folder);
    saveStatCache(file, hashFile(folder, "a", laterMs).records.bytes);
    return { file, bytes: fs.readFileSync(cachePath(file)) };
  };

  it("with any one byte damaged is ignored", () => {
    const { file, bytes } = sound();
    assert.equal(loadStatCache(file).records.count, 1);
    for (let i = 0; i < bytes.length; i++) {
      const damaged = Buffer.from(bytes);
      damaged[i] = (damaged[i] ?? 0) ^ 1;
      fs.writeFileSync(cachePath(file), damaged);
      assert.equal(loadStatCache(file).records.count, 0, `byte ${i}`);
    }
  });

  it("that was cut short is ignored", () => {
    const { file, bytes } = sound();
    for (let length = 0; length < bytes.length; length++) {
      fs.writeFileSync(cachePath(file), bytes.subarray(0, length));
      assert.equal(loadStatCache(file).records.count, 0, `${length} bytes`);
    }
  });

  it("of another source is ignored", () => {
    const { file } = sound();
    const other = locate("other");
    saveStatCache(other, new Uint8Array(0));
    fs.copyFileSync(cachePath(file), cachePath(other));
    assert.equal(loadStatCache(other).records.count, 0);
  });

  it("that is not there, or no file, is an empty cache", () => {
    const file = locate();
    assert.equal(loadStatCache(file).records.count, 0);
    saveStatCache(file, new Uint8Array(0));
    const name = cachePath(file);
    fs.rmSync(name);
    fs.mkdirSync(name);
    assert.equal(loadStatCache(file).records.count, 0);
    saveStatCache(file, new Uint8Array(0));
    assert.deepEqual(fs.readdirSync(file.folder), [path.basename(name)], "nothing is left over");
  });

  it("goes when 256 newer ones are there", () => {
    const cacheDir = path.join(cwd, "many");
    const old = locateStatCache(cacheDir, "/old", []);
    saveStatCache(old, new Uint8Array(0));
    const used = locateStatCache(cacheDir, "/used", []);
    saveStatCache(used, new Uint8Array(0));
    for (const name of fs.readdirSync(old.folder)) fs.utimesSync(path.join(old.folder, name), 1, 1);
    touchStatCache(used, Date.now());
    for (let i = 0; i < 255; i++)
      saveStatCache(locateStatCache(cacheDir, `/new-${i}`, []), new Uint8Array(0));
    const names = new Set(fs.readdirSync(old.folder));
    assert.equal(names.size, 256);
    assert.ok(!names.has(`${old.key.toString("hex", 0, 16)}.stats`));
    assert.ok(names.has(`${used.key.toString("hex", 0, 16)}.stats`));
  });

  it("is for one folder with one list of what to ignore", () => {
    const keys = [["/a"], ["/a", "b"], ["/a", "b", "c"], ["/a", "bc"], ["/b"]].map(([root = "", ...ignore]) =>
      locateStatCache(cwd, root, ignore).key.toString("hex"),
    );
    assert.equal(new Set(keys).size, 5);
  });
});

/** Until the file system gives another time than the file has: without that, a test of one tick would prove nothing. */
function waitForClock(full: string): void {
  const probe = `${full}.probe`;
  const { ctimeMs } = fs.statSync(full);
  do fs.writeFileSync(probe, "");
  while (fs.statSync(probe).ctimeMs <= ctimeMs);
}
