import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { test, type TestContext } from "node:test";
import { CancelledError } from "../../src/core/errors";
import { StageMemory } from "../../src/core/stage-memory";
import { makeFolder } from "../support/context";

const never = new AbortController().signal;

function makeMemory(t: TestContext): { memory: StageMemory; home: string } {
  const home = makeFolder(t);
  process.env["PULUMI_KILN_HOME"] = home;
  return { memory: new StageMemory("engine"), home };
}

test("what was learnt, used and recorded is there for the next process", (t) => {
  const { memory } = makeMemory(t);
  assert.deepEqual(memory.readCosts(), {});
  memory.learn({ saveMs: 100 });
  memory.touch(["k"]);
  memory.writeRecord("o", { machine: { image: "1" }, steps: [] });
  const next = new StageMemory("engine");
  assert.equal(next.readCosts().saveMs, 100);
  assert.deepEqual(next.readRecord("o"), { machine: { image: "1" }, steps: [] });
  assert.ok((next.readUsedMs("k") ?? 0) > 0);
  next.forgetOthers(new Set());
  assert.equal(memory.readUsedMs("k"), undefined);
  assert.deepEqual(new StageMemory("another engine").readCosts(), {});
});

test("a second build waits for the first one, and is told so", async (t) => {
  const { memory } = makeMemory(t);
  const first = await memory.lock("k", never);
  assert.equal(first.waited, false);
  const order: string[] = [];
  const second = memory.lock("k", never).then((lock) => {
    order.push("second");
    return lock;
  });
  assert.equal((await memory.lock("other", never)).waited, false);
  order.push("first");
  first.release();
  assert.equal((await second).waited, true);
  assert.deepEqual(order, ["first", "second"]);
});

test("who waits can be cancelled", async (t) => {
  const { memory } = makeMemory(t);
  await memory.lock("k", never);
  const controller = new AbortController();
  const waiting = memory.lock("k", controller.signal);
  controller.abort();
  await assert.rejects(waiting, CancelledError);
});

test("nobody waits for a process that died, nor for a lock that it had not written", async (t) => {
  const { memory, home } = makeMemory(t);
  const child = fork(__filename, ["hold"], { env: { ...process.env, PULUMI_KILN_HOME: home } });
  await once(child, "message");
  child.kill("SIGKILL");
  await once(child, "exit");
  const lock = await memory.lock("k", never);
  lock.release();
  const [place = ""] = fs.readdirSync(path.join(home, "cache", "stages"));
  fs.writeFileSync(path.join(home, "cache", "stages", place, "locks", "k"), "");
  (await memory.lock("k", never)).release();
});

if (process.argv[2] === "hold") {
  void new StageMemory("engine").lock("k", never).then(() => process.send?.("held"));
  setInterval(() => undefined, 1000);
}
