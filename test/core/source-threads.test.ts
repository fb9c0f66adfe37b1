import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { beforeEach, describe, it } from "node:test";
import type { Worker } from "node:worker_threads";
import { type SourceJob, tryJobInline } from "../../src/core/source-job";
import { endThreads, runJobInThreads } from "../../src/core/source-threads";
import { hashSources, listSource } from "../../src/core/source-tree";
import { makeFiles, makeWorkFolder } from "./source-folders";

const { cwd, makeFolder, at } = makeWorkFolder();

/** More files than are hashed on the spot, so that threads and cache are used. */
function makeLargeFolder(count = 700): string {
  return makeFolder(makeFiles(count));
}

// Far enough ahead that files made just now count as settled.
const laterMs = Date.now() + 60_000;

async function hashOne(folder: string, cacheDir = path.join(cwd, "cache")): Promise<string> {
  const [tree] = await hashSources([{ path: folder }], { cwd, cacheDir });
  return tree?.hash ?? "";
}

let cacheCount = 0;
function makeJob(folder: string, cacheDir = path.join(cwd, `cache-${++cacheCount}`)): SourceJob {
  return { root: path.join(cwd, folder), ignore: [], cacheDir, startedMs: laterMs, list: false };
}

describe("a large source", () => {
  it("is hashed by threads as it would be on the spot", async () => {
    const folder = makeLargeFolder(150);
    const inline = tryJobInline({ ...makeJob(folder), list: true }, Infinity);
    const threaded = await runJobInThreads({ ...makeJob(folder), list: true });
    assert.deepEqual(threaded, inline);
    assert.ok("summary" in threaded && threaded.entries.length === 158);
  });

  it("is not hashed on the spot", () => {
    assert.equal(tryJobInline(makeJob(makeLargeFolder()), Infinity), undefined);
  });

  it("in bytes alone is not hashed on the spot either", () => {
    assert.equal(
      tryJobInline(makeJob(makeFolder({ long: Buffer.alloc(1024 * 1024 + 1) })), Infinity),
      undefined,
    );
  });

  it("for which there is no time is not hashed on the spot", () => {
    assert.equal(tryJobInline(makeJob(makeFolder({ a: "" })), -1), undefined);
  });

  it("of which nearly all is ignored is not read to its end on the spot", () => {
    const job = makeJob(makeFolder({ a: "", ...makeFiles(1) }));
    for (let i = 0; i < 300; i++) fs.writeFileSync(path.join(job.root, `${i}.pyc`), "");
    assert.equal(tryJobInline({ ...job, ignore: ["*.pyc"] }, Infinity), undefined);
  });

  it("whose only change keeps size and mtime is another source", async () => {
    const job = makeJob(makeLargeFolder());
    const first = await runJobInThreads(job);
    const { atime, mtime } = fs.statSync(path.join(job.root, "d0/f7"));
    fs.writeFileSync(path.join(job.root, "d0/f7"), "CONTENT 7");
    fs.utimesSync(path.join(job.root, "d0/f7"), atime, mtime);
    const second = await runJobInThreads(job);
    const fresh = await runJobInThreads({ ...job, cacheDir: path.join(cwd, "no-such-cache") });
    assert.deepEqual(second, fresh);
    assert.notDeepEqual(second, first);
  });

  it("that was written just now is read again", async () => {
    const folder = makeLargeFolder();
    const first = await hashOne(folder);
    fs.writeFileSync(at(folder, "d0/f7"), "CONTENT 7");
    assert.notEqual(await hashOne(folder), first);
  });

  it("has its problems told, whichever thread met them", async () => {
    const folder = makeLargeFolder();
    for (const name of ["d0/0", "d3/z", "d6/z"]) fs.symlinkSync(Buffer.from([0x61, 0xff]), at(folder, name));
    const outcome = await runJobInThreads(makeJob(folder));
    assert.ok("problems" in outcome);
    assert.deepEqual(
      outcome.problems.map((problem) => problem.path),
      ["d0/0", "d3/z", "d6/z"],
    );
    assert.match(outcome.problems[0]?.reason ?? "", /^is a link to a name that is not UTF-8/);
  });

  it("has its links listed, whichever thread read them", async () => {
    const folder = makeLargeFolder(2500);
    for (const i of [0, 3, 6]) fs.symlinkSync(`to-${i}`, at(folder, `d${i}/z`));
    const outcome = await runJobInThreads({ ...makeJob(folder), list: true });
    assert.ok("entries" in outcome);
    assert.equal(outcome.entries.length, 1 + 7 + 2500 + 3);
    const targets = outcome.entries.flatMap((entry) => entry.target ?? []);
    assert.deepEqual(targets, ["to-0", "to-3", "to-6"]);
  });

  it("with a long file is hashed in pieces", async () => {
    const content = Buffer.alloc(3 * 1024 * 1024 + 17, "kiln");
    const folder = makeFolder({ long: content });
    const [, entry] = await listSource({ path: folder }, { cwd });
    const expected = execFileSync("sha256sum", [at(folder, "long")], { encoding: "utf8" }).slice(0, 64);
    assert.deepEqual([entry?.hash, entry?.sizeBytes], [expected, content.length]);
  });

  it("needs no cache folder that can be written", async () => {
    const folder = makeLargeFolder();
    fs.writeFileSync(path.join(cwd, "no-folder"), "");
    assert.equal(await hashOne(folder, path.join(cwd, "no-folder/cache")), await hashOne(folder));
  });

  it("of 100,000 files has the same hash from the cache as from the disk", async () => {
    const folder = makeLargeFolder(100_000);
    const job = makeJob(folder);
    const cold = await runJobInThreads(job);
    assert.deepEqual(await runJobInThreads(job), cold);
    assert.ok("summary" in cold && cold.summary.fileCount === 100_000);
    assert.equal(cold.summary.hash, await hashOne(folder));
    // What is handed to the program's own thread stays small.
    assert.ok(JSON.stringify(cold).length < 200_000);
    fs.rmSync(path.join(cwd, folder), { recursive: true });
  });
});

describe("the threads", () => {
  it("end when the signal says so, and the reason is passed on", async () => {
    const reason = new Error("stop");
    const controller = new AbortController();
    const folder = makeLargeFolder();
    const running = hashSources([{ path: folder }], {
      cwd,
      cacheDir: path.join(cwd, "c2"),
      signal: controller.signal,
    });
    const queued = hashSources([{ path: folder }], {
      cwd,
      cacheDir: path.join(cwd, "c2"),
      signal: controller.signal,
    });
    const other = hashOne(folder);
    setImmediate(() => setImmediate(() => controller.abort(reason)));
    await assert.rejects(running, reason);
    await assert.rejects(queued, reason);
    assert.equal((await other).length, 64);
    await assert.rejects(hashSources([{ path: folder }], { cwd, signal: controller.signal }), reason);
  });

  it("end at once when the signal says so, however long the file", async () => {
    const folder = makeFolder({});
    fs.closeSync(fs.openSync(at(folder, "endless"), "w"));
    fs.truncateSync(at(folder, "endless"), 2 ** 40); // sparse: it takes no room, but hours to hash
    const controller = new AbortController();
    const spec = { path: folder };
    const endless = hashSources([spec], {
      cwd,
      cacheDir: path.join(cwd, "cache"),
      signal: controller.signal,
    });
    setImmediate(() => setImmediate(() => controller.abort()));
    await assert.rejects(endless, { name: "AbortError" });
    assert.equal((await hashOne(makeLargeFolder())).length, 64);
  });

  it("leave a source in the queue when the signal says so, without waiting for its turn", async () => {
    const job = makeJob(makeLargeFolder());
    const controller = new AbortController();
    const order: string[] = [];
    const running = runJobInThreads(job).then(() => order.push("the running one"));
    const queued = runJobInThreads(job, controller.signal).catch(() => order.push("the queued one"));
    controller.abort();
    await Promise.all([running, queued]);
    assert.deepEqual(order, ["the queued one", "the running one"]);
  });

  beforeEach(endThreads);

  it("serve the next source too, and end some time after the last", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const started: Worker[] = [];
    const note = (worker: Worker): void => void started.push(worker);
    process.on("worker", note);
    for (let turn = 0; turn < 3; turn++) await runJobInThreads(makeJob(makeLargeFolder()));
    process.off("worker", note);
    assert.equal(started.length, 2);
    const ended = Promise.all(started.map((worker) => once(worker, "exit")));
    t.mock.timers.tick(10_000);
    await ended;
  });

  it("are not ended under a source by one that was aborted before it", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const job = makeJob(makeLargeFolder());
    await runJobInThreads(job);
    await assert.rejects(runJobInThreads(job, AbortSignal.abort(new Error("stop"))), /stop/);
    const running = runJobInThreads(job);
    await Promise.resolve();
    t.mock.timers.tick(60_000);
    assert.ok("summary" in (await running));
  });

  it("that die while they wait are replaced", async () => {
    const started: Worker[] = [];
    const note = (worker: Worker): void => void started.push(worker);
    process.on("worker", note);
    await runJobInThreads(makeJob(makeLargeFolder()));
    process.off("worker", note);
    await started[1]?.terminate();
    assert.ok("summary" in (await runJobInThreads(makeJob(makeLargeFolder()))));
  });

  for (const [index, which] of ["the one that walks", "the one that helps"].entries()) {
    it(`that die are an error: ${which}`, async () => {
      const job = makeJob(makeLargeFolder());
      let count = 0;
      const kill = (worker: Worker): void => void (count++ === index && worker.terminate());
      process.on("worker", kill);
      await assert.rejects(runJobInThreads(job), /Hashing .*: a thread ended early with code [01]/);
      process.off("worker", kill);
      assert.ok("summary" in (await runJobInThreads(job)));
    });
  }

  it("that fail are an error, and the next source has new ones", async () => {
    const folder = makeLargeFolder();
    await assert.rejects(
      runJobInThreads({ ...makeJob(folder), cacheDir: undefined as unknown as string }),
      /^Error: Hashing .*: /,
    );
    await assert.rejects(runJobInThreads(makeJob("nowhere")), /ENOENT/);
    assert.equal((await hashOne(folder)).length, 64);
  });

  it("do not keep the program alive", () => {
    const script = `require(${JSON.stringify(require.resolve("../../src/core/source-tree"))})
      .hashSources([{ path: "." }], { cwd: process.argv[1], cacheDir: process.argv[2] }).then(([tree]) => console.log(tree.fileCount))`;
    const args = ["-e", script, path.join(cwd, makeLargeFolder()), path.join(cwd, "cache")];
    assert.equal(execFileSync(process.execPath, args, { encoding: "utf8" }), "700\n");
  });
});
