import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as http from "node:http";
import * as path from "node:path";
import { test } from "node:test";
import { LINEAGE } from "../contracts/balancer";
import { missingHaproxy, startHaproxy, startProgram, type Program } from "../support/haproxy";
import type { ConvergeRun } from "./converge-run";

const CLIENTS = 4;
/** Of some forty questions, every third. */
const STEP = 3;

async function run(options: ConvergeRun): Promise<NodeJS.Signals | null> {
  const child = spawn(process.execPath, [path.join(__dirname, "converge-run.js"), JSON.stringify(options)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
  if (signal === null) assert.equal(code, 0);
  return signal;
}

function ask(url: string, agent: http.Agent | false): Promise<string> {
  return new Promise((resolve, reject) => {
    http
      .get(url, { agent }, (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", () => (response.statusCode === 200 ? resolve(text) : reject(new Error(`status ${response.statusCode}`)))); // prettier-ignore
      })
      .on("error", reject);
  });
}

test(
  "killed at any question of a switch, requests are served on, and the next run ends it",
  { skip: missingHaproxy() },
  async (t) => {
    const proxy = await startHaproxy();
    const programs: Program[] = [];
    t.after(async () => {
      await proxy.stop();
      await Promise.all(programs.map((program) => program.stop()));
    });
    const startVersion = async (version: string): Promise<number[]> => {
      const pair = [await startProgram(version), await startProgram(version)];
      programs.push(...pair);
      return pair.map((program) => program.port);
    };
    const base = { lineage: LINEAGE, socket: proxy.runtimeApi.slice("unix://".length), map: proxy.map };
    await run({ ...base, version: "v0", ports: await startVersion("v0"), dieAt: 0 });

    const failures: string[] = [];
    let requests = 0;
    let running = true;
    const clients = Array.from({ length: CLIENTS }, async (_, index) => {
      const agent = index % 2 === 0 ? new http.Agent({ keepAlive: true, maxSockets: 1 }) : false;
      while (running) {
        requests++;
        await ask(proxy.url, agent).catch((error: unknown) => failures.push(String(error)));
      }
      if (agent) agent.destroy();
    });

    let dieAt = 1;
    for (let kills = 0; ; dieAt += STEP) {
      const version = `v${dieAt}`;
      const ports = await startVersion(version);
      const signal = await run({ ...base, version, ports, dieAt });
      if (signal === "SIGKILL") kills++;
      // Every other time somebody has changed their mind: a third version, or the same again.
      const wanted = dieAt % 2 === 0 ? version : `${version}-other`;
      await run({
        ...base,
        version: wanted,
        ports: dieAt % 2 === 0 ? ports : await startVersion(wanted),
        dieAt: 0,
      });
      assert.equal(await ask(proxy.url, false), wanted);
      if (signal === null) {
        assert.ok(kills >= 10, `only ${kills} moments`);
        break;
      }
    }
    running = false;
    await Promise.all(clients);
    assert.deepEqual(failures, []);
    assert.ok(requests > 200);
    t.diagnostic(`killed at ${Math.floor(dieAt / STEP)} moments, ${requests} requests`);
  },
);
