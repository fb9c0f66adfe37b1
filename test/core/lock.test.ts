import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { CancelledError } from "../../src/core/errors";
import { removeAbandonedLocks, takeLock, withLock } from "../../src/core/lock";
import { makeFolder } from "../support/context";

const never = new AbortController().signal;
const HOLDER = path.join(__dirname, "lock-holder.js");

test("work under a lock is done one after the other, and a failure lets the next one in", async (t) => {
  const file = path.join(makeFolder(t), "a", "lock");
  let inside = 0;
  const work = async (fails: boolean): Promise<void> => {
    assert.equal(++inside, 1);
    await new Promise(setImmediate);
    inside--;
    if (fails) throw new Error("failed");
  };
  const results = await Promise.allSettled(
    [true, false, true, false].map((fails) => withLock(file, never, () => work(fails))),
  );
  assert.deepEqual(
    results.map(({ status }) => status),
    ["rejected", "fulfilled", "rejected", "fulfilled"],
  );
  assert.ok(!fs.existsSync(file));
});

test("who waits can be cancelled", async (t) => {
  const file = path.join(makeFolder(t), "lock");
  await takeLock(file, never);
  const controller = new AbortController();
  const waiting = takeLock(file, controller.signal);
  controller.abort();
  await assert.rejects(waiting, CancelledError);
});

test("of the locks in a folder those of dead holders go", async (t) => {
  const folder = makeFolder(t);
  const [dead, alive] = [path.join(folder, "dead"), path.join(folder, "alive")];
  const holder = fork(HOLDER, ["hold", dead]);
  await once(holder, "message");
  await takeLock(alive, never);
  removeAbandonedLocks(folder);
  assert.deepEqual(fs.readdirSync(folder).sort(), ["alive", "dead"]);
  holder.kill("SIGKILL");
  await once(holder, "exit");
  removeAbandonedLocks(folder);
  assert.deepEqual(fs.readdirSync(folder), ["alive"]);
});

test("of many that find a dead holder, in several processes, one at a time gets in", async (t) => {
  const folder = makeFolder(t);
  const file = path.join(folder, "lock");
  const holder = fork(HOLDER, ["hold", file]);
  await once(holder, "message");
  holder.kill("SIGKILL");
  await once(holder, "exit");
  const counter = path.join(folder, "counter");
  fs.writeFileSync(counter, "0");
  const children = Array.from({ length: 4 }, () => fork(HOLDER, ["count", file, counter]));
  const ends = await Promise.all(children.map((child) => once(child, "exit")));
  assert.deepEqual(
    ends.map(([code]) => code as number),
    [0, 0, 0, 0],
  );
  assert.equal(fs.readFileSync(counter, "utf8"), "20");
});
