import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { startLoad, type LoadReport } from "../../bench/load";
import { createBlueGreen, switchUrn, type BlueGreenStack } from "../support/blue-green";
import { never, openDriver, openEngine } from "../support/docker";

/** What is in a container's own words. */
async function runIn(container: string, script: string): Promise<{ code: number; output: string }> {
  const chunks: Buffer[] = [];
  const code = await (
    await openDriver()
  ).runCommand(container, {
    argv: ["sh", "-c", script],
    environment: [],
    onOutput: (chunk) => void chunks.push(chunk),
    signal: never,
  });
  return { code, output: Buffer.concat(chunks).toString() };
}

async function containerCall(container: string, call: "restart" | "stop" | "start" | "kill"): Promise<void> {
  const query = call === "restart" || call === "stop" ? { t: 0 } : {};
  const path = `/containers/${container}/${call}`;
  await (await openEngine()).request({ method: "POST", path, query, signal: never });
}

/** The version that answers; asks again while nobody does. */
async function askVersion(url: string): Promise<string> {
  for (;;) {
    try {
      const response = await fetch(url, { headers: { connection: "close" } });
      if (response.status === 200) return (await response.text()).trim();
    } catch {
      // the proxy is not up yet
    }
  }
}

function assertNoneFailed(report: LoadReport): void {
  assert.deepEqual([report.failed, report.stale, report.lostSockets], [0, 0, 0], report.failures.join("\n"));
  assert.ok(report.requests > 100, `${report.requests} requests`);
}

test("blue/green on Docker", async (t) => {
  const project = `rollout-${process.pid}`;
  const shared: BlueGreenStack = await createBlueGreen(t, project);
  const outputs = async (): Promise<{ proxy: string; containers: string[] }> =>
    (await shared.stack.outputs()) as never;
  shared.declare({ version: 1, replicas: 2 });
  await shared.stack.up();

  await t.test(
    "nobody but the engine reaches the runtime API; nothing changes without a change",
    async () => {
      assert.equal(await askVersion(shared.url), "version 1");
      const { proxy, containers } = await outputs();
      const { body } = await (
        await openEngine()
      ).request<{ NetworkSettings: { Networks: Record<string, { IPAddress: string }>; Ports: object } }>({
        method: "GET",
        path: `/containers/${proxy}/json`,
      });
      assert.deepEqual(Object.keys(body.NetworkSettings.Ports), ["8080/tcp"]);
      const [network] = Object.values(body.NetworkSettings.Networks);
      const probe = (port: number): string =>
        `python3 -c 'import socket; socket.create_connection(("${network?.IPAddress}", ${port}), 2)'`;
      assert.equal((await runIn(containers[0] ?? "", probe(8080))).code, 0);
      for (const port of [9901, 9902]) {
        const { code, output } = await runIn(containers[0] ?? "", probe(port));
        assert.notEqual(code, 0);
        assert.match(output, /refused/);
      }
      const { text } = await shared.stack.up();
      assert.match(text, /11 unchanged/);
    },
  );

  await t.test(
    "versions, a sick one and other numbers of replicas change under load, and no request fails",
    async () => {
      const { stack, url, declare } = shared;
      const load = await startLoad(url, { lasting: 2 });
      try {
        declare({ version: 1, replicas: 3 });
        await stack.up();
        declare({ version: 1, replicas: 2 });
        await stack.up();
        declare({
          version: 1,
          replicas: 2,
          proxy: { extraConfig: "  http-response set-header X-Extra yes" },
        });
        await stack.up();
        assert.equal((await fetch(url)).headers.get("x-extra"), "yes");
        assertNoneFailed(await load.report());
        declare({ version: 2, replicas: 2, environment: ["SICK=1"], health: { timeout: "3s" } });
        assert.match(await stack.failingUp(), /not healthy in 3\.0s .*503.* what served before goes on/);
        assertNoneFailed(await load.report());
      } finally {
        await load.stop();
      }
      const short = await startLoad(url);
      try {
        declare({ version: 3, replicas: 2 });
        await stack.up();
        const report = await short.report();
        assertNoneFailed(report);
        assert.deepEqual(Object.keys(report.firstSeen), ["1", "3"]);
      } finally {
        await short.stop();
      }
    },
  );

  await t.test("restarted in any order, the same version answers without an update", async () => {
    const { proxy, containers } = await outputs();
    const all = [...containers, proxy];
    for (const container of all) await containerCall(container, "stop");
    for (const container of all.reverse()) await containerCall(container, "start");
    assert.equal(await askVersion(shared.url), "version 3");
    await containerCall(proxy, "kill");
    await containerCall(proxy, "start");
    assert.equal(await askVersion(shared.url), "version 3");
  });

  await t.test(
    "what a hand has changed in the proxy is seen by refresh, and put right by the next update",
    async () => {
      const { proxy } = await outputs();
      const api = (line: string): string =>
        `bash -c 'exec 3<>/dev/tcp/127.0.0.1/9901; printf "%s\\n" "${line}; quit" >&3; cat <&3'`;
      const live = /live (blue|green)/.exec(
        (await runIn(proxy, api("@1 show map /kiln/live.map"))).output,
      )?.[1];
      const other = live === "blue" ? "green" : "blue";
      await runIn(proxy, api(`@1 set map /kiln/live.map live ${other}`));
      const refresh = await shared.stack.mustRun(["refresh", "--yes", "--skip-preview"]);
      assert.match(refresh.text, new RegExp(`changed: .*requests should go to ${live}`));
      await shared.stack.up();
      assert.equal(await askVersion(shared.url), "version 3");
    },
  );

  await t.test(
    "killed in the middle of a switch, the next update ends it; destroy leaves nothing",
    async () => {
      const { stack, url, declare } = shared;
      const load = await startLoad(url);
      try {
        declare({ version: 4, replicas: 2 });
        const up = stack.start(["up", "--yes", "--skip-preview"]);
        // The traffic has moved, and what lasts on the old version is being waited for.
        let hasEnded = false;
        void up.done.then(() => (hasEnded = true));
        while (!hasEnded && (await askVersion(url)) !== "version 4") await wait(20);
        assert.equal(hasEnded, false, up.text());
        process.kill(-up.pid, "SIGKILL");
        await up.done;
        await stack.recover();
        await stack.up("--refresh");
        assert.equal(await askVersion(url), "version 4");
        assertNoneFailed(await load.report());
      } finally {
        await load.stop();
      }
      await stack.up("--replace", switchUrn(project));
      assert.equal(await askVersion(url), "version 4");
      const { proxy, containers } = await outputs();
      await stack.destroy();
      const driver = await openDriver();
      for (const name of [proxy, ...containers])
        assert.equal(await driver.findContainer(name, never), undefined);
    },
  );
});
