import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import * as path from "node:path";
import { test } from "node:test";

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`${signal} during a build waits for what another build still removes`, async () => {
    const child = fork(path.join(__dirname, "signalled-run.js"), { stdio: ["ignore", 1, 2, "ipc"] });
    const events: unknown[] = [];
    child.on("message", (event) => {
      events.push(event);
      if (event === "building") child.kill(signal);
      if (event === "answered") child.send("go on");
    });
    const [code] = (await once(child, "exit")) as [number];
    assert.deepEqual(events, ["building", "answered", "removed"]);
    assert.equal(code, 1);
  });
}
