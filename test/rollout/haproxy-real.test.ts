import * as http from "node:http";
import { once } from "node:events";
import { LINEAGE, testBalancer } from "../contracts/balancer";
import { HaproxyBalancer } from "../../src/rollout/switch/haproxy-balancer";
import { RuntimeApi } from "../../src/rollout/switch/runtime-api";
import { SocketTransport } from "../../src/rollout/switch/runtime-transport";
import { missingHaproxy, startHaproxy, startProgram, type Program } from "../support/haproxy";

testBalancer(
  "on a real HAProxy",
  async () => {
    const proxy = await startHaproxy();
    const programs: Program[] = [];
    const target = {
      map: proxy.map,
      key: "live",
      backends: ["blue", "green"] as const,
      lineage: LINEAGE,
      // It is also what a check may take, on a machine that does much else.
      checks: { intervalMs: 1000, passes: 2 },
    };
    const transport = new SocketTransport(proxy.runtimeApi, {
      path: proxy.runtimeApi.slice("unix://".length),
    });
    const ask = async (): Promise<string | undefined> => {
      const response = await fetch(proxy.url, { headers: { connection: "close" } });
      return response.status === 200 ? response.text() : undefined;
    };
    return {
      balancer: new HaproxyBalancer(new RuntimeApi(transport), target),
      colours: ["blue", "green"] as const,
      async startProgram(name, isHealthy) {
        const program = await startProgram(name, isHealthy);
        programs.push(program);
        return { address: "127.0.0.1", port: program.port };
      },
      async openRequest() {
        const request = http.get(`${proxy.url}/open`, { agent: false });
        let isCut = false;
        request.on("response", (response) => {
          isCut ||= response.statusCode !== 200;
          response.resume();
        });
        request.on("error", () => (isCut = true));
        const response = await waitForRequest(programs, () => isCut);
        return {
          async end() {
            response.end();
            await once(request, "close");
          },
          isCut: () => isCut || request.destroyed,
        };
      },
      whoAnswers: ask,
      async stop() {
        await proxy.stop();
        await Promise.all(programs.map((program) => program.stop()));
      },
    };
  },
  missingHaproxy(),
);

async function waitForRequest(
  programs: readonly Program[],
  isRefused: () => boolean,
): Promise<http.ServerResponse> {
  for (;;) {
    if (isRefused()) throw new Error("no program got the request");
    for (const program of programs) {
      const response = program.waiting.pop();
      if (response) return response;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}
