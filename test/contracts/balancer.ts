/** What every load balancer must do for the plan: run on the fake and on a real HAProxy. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import type { Server } from "../../src/rollout/plan";
import type { Balancer, ServerTraffic } from "../../src/rollout/switch/balancer";
import { converge, withdraw, type ConvergeOptions } from "../../src/rollout/switch/converge";
import { formatServerName, hashVersion } from "../../src/rollout/switch/server-name";
import { never } from "../support/docker";

export const LINEAGE = "0a1b2c3d";

/** A balancer with programs behind it and clients before it. */
export interface BalancerUnderTest {
  balancer: Balancer;
  colours: readonly [string, string];
  /** Starts a program; it says its name to who asks. */
  startProgram(name: string, isHealthy: boolean): Promise<{ address: string; port: number }>;
  /** A request through the balancer that lasts until it is ended; resolves when a program has it. */
  openRequest(): Promise<{ end(): Promise<void>; isCut(): boolean }>;
  /** The name of the program that answers a request now, undefined if none does. */
  whoAnswers(): Promise<string | undefined>;
  stop(): Promise<void>;
}

export function testBalancer(
  title: string,
  open: () => Promise<BalancerUnderTest>,
  skip?: string | false,
): void {
  describe(`the load balancer's contract, ${title}`, { skip }, () => {
    let opened: Promise<BalancerUnderTest> | undefined;
    const world = (): Promise<BalancerUnderTest> => (opened ??= open());
    after(async () => (await opened)?.stop());
    let count = 0;

    async function makeServer(version: string, isHealthy = true): Promise<Server> {
      const name = `${version}-${++count}`;
      const place = await (await world()).startProgram(name, isHealthy);
      return { ...place, name: formatServerName(LINEAGE, hashVersion(version), { ...place, name }, "") };
    }

    async function waitUntil(
      isDone: (server: ServerTraffic) => boolean,
      name: string,
    ): Promise<ServerTraffic> {
      const { balancer } = await world();
      for (;;) {
        const server = (await balancer.watch(never)).servers.find((one) => one.name === name);
        if (server && isDone(server)) return server;
      }
    }

    test("a server is added without traffic, gets some once its checks pass and its colour is live", async () => {
      const { balancer, colours, whoAnswers } = await world();
      const [blue, green] = colours;
      const before = await balancer.find(never);
      assert.equal(before.live, blue);
      assert.deepEqual(before.colours.map((colour) => colour.servers.length), [0, 0]); // prettier-ignore
      const server = await makeServer("one");
      await balancer.apply({ do: "add", colour: green, server, version: hashVersion("one") }, never);
      await waitUntil((one) => one.isHealthy, server.name);
      assert.equal(await whoAnswers(), undefined);
      const found = await balancer.find(never);
      assert.deepEqual(found.colours[1].servers, [
        { ...server, version: hashVersion("one"), accepting: true },
      ]);
      await assert.rejects(async () =>
        balancer.apply({ do: "add", colour: green, server, version: hashVersion("one") }, never),
      );
      await balancer.apply({ do: "switch", colour: green }, never);
      assert.equal((await balancer.find(never)).live, green);
      assert.match((await whoAnswers()) ?? "", /^one/);
    });

    test("a server whose checks fail is never healthy, gets no request, and its answer can be told", async () => {
      const { balancer, colours, whoAnswers } = await world();
      const sick = await makeServer("one", false);
      await balancer.apply(
        { do: "add", colour: colours[1], server: sick, version: hashVersion("one") },
        never,
      );
      const { answer } = await waitUntil((one) => /503/.test(one.answer), sick.name);
      assert.match(answer, /^DOWN/);
      for (let times = 0; times < 20; times++) assert.match((await whoAnswers()) ?? "", /^one-1$/);
      await balancer.apply({ do: "remove", colour: colours[1], server: sick.name, stays: false }, never);
    });

    test("a stopped server finishes what it has, and takes requests again when it is enabled", async () => {
      const { balancer, colours, whoAnswers, openRequest } = await world();
      const [, green] = colours;
      const name = (await balancer.find(never)).colours[1].servers[0]?.name ?? "";
      const request = await openRequest();
      await waitUntil((one) => one.open === 1, name);
      assert.equal((await balancer.watch(never)).open[green], 1);
      await balancer.apply({ do: "stop", colour: green, server: name }, never);
      assert.equal(await whoAnswers(), undefined);
      assert.equal((await balancer.find(never)).colours[1].servers[0]?.accepting, false);
      assert.equal((await waitUntil(() => true, name)).isHealthy, false);
      await assert.rejects(async () =>
        balancer.apply({ do: "remove", colour: green, server: name, stays: false }, never),
      );
      assert.equal(request.isCut(), false);
      await request.end();
      await waitUntil((one) => one.open === 0, name);
      await balancer.apply({ do: "enable", colour: green, server: name }, never);
      await waitUntil((one) => one.isHealthy, name);
      assert.match((await whoAnswers()) ?? "", /^one/);
    });

    test("connections are cut where that is asked for", async () => {
      const { balancer, colours, openRequest } = await world();
      const name = (await balancer.find(never)).colours[1].servers[0]?.name ?? "";
      const request = await openRequest();
      await waitUntil((one) => one.open === 1, name);
      await balancer.cut(colours[1], name, never);
      await waitUntil((one) => one.open === 0, name);
      assert.equal(request.isCut(), true);
    });

    test("it is known whose the servers are, until that is taken back", async () => {
      const { balancer } = await world();
      await balancer.apply({ do: "claim", owner: "me/1" }, never);
      await balancer.apply({ do: "claim", owner: "me/2" }, never);
      assert.equal((await balancer.find(never)).owner, "me/2");
      await balancer.disown(never);
      assert.equal((await balancer.find(never)).owner, undefined);
    });

    const warnings: string[] = [];
    const options: ConvergeOptions = {
      healthTimeoutMs: 20_000,
      drainTimeoutMs: 20_000,
      signal: never,
      onStatus: () => undefined,
      onWarning: (text) => void warnings.push(text),
    };
    const wishFor = (version: string, servers: Server[]) => ({
      owner: `${LINEAGE}/x`, version: hashVersion(version), health: "", settings: "", servers,
    }); // prettier-ignore

    test("a new version takes over, the old one finishes; a sick one takes over nothing", async () => {
      const { balancer, colours, whoAnswers, openRequest } = await world();
      const request = await openRequest();
      const two = [await makeServer("two"), await makeServer("two")];
      const running = converge(balancer, wishFor("two", two), options);
      while (!/^two/.test((await whoAnswers()) ?? "")) assert.ok(true);
      assert.equal(request.isCut(), false);
      await request.end();
      await running;
      const found = await balancer.find(never);
      assert.equal(found.live, colours[0]);
      assert.deepEqual(found.colours.map((colour) => colour.servers.length), [2, 0]); // prettier-ignore

      const sick = [await makeServer("three", false)];
      await assert.rejects(
        converge(balancer, wishFor("three", sick), { ...options, healthTimeoutMs: 1500 }),
        /503/,
      );
      assert.deepEqual((await balancer.find(never)).colours, found.colours);
      assert.match((await whoAnswers()) ?? "", /^two/);
    });

    test("what is not done in time is cut and counted", async () => {
      const { balancer, openRequest } = await world();
      const request = await openRequest();
      const report = await converge(balancer, wishFor("four", [await makeServer("four")]), { ...options, drainTimeoutMs: 300 }); // prettier-ignore
      assert.equal(report.cut, 1);
      assert.equal(request.isCut(), true);
      assert.match(warnings.join(), /^1 connections to old servers were cut/);
    });

    test("all of its own servers go, when the switch does", async () => {
      const { balancer } = await world();
      await withdraw(balancer, options);
      const found = await balancer.find(never);
      assert.deepEqual(found.colours.flatMap((colour) => colour.servers), []); // prettier-ignore
      assert.equal(found.owner, undefined);
    });
  });
}
