/** As a program: one run of the switch in a process of its own, which dies at its n-th question to the proxy. */
import type { Server } from "../../src/rollout/plan";
import { converge } from "../../src/rollout/switch/converge";
import { HaproxyBalancer } from "../../src/rollout/switch/haproxy-balancer";
import { RuntimeApi } from "../../src/rollout/switch/runtime-api";
import { SocketTransport } from "../../src/rollout/switch/runtime-transport";
import { formatServerName, hashVersion } from "../../src/rollout/switch/server-name";

export interface ConvergeRun {
  lineage: string;
  socket: string;
  map: string;
  version: string;
  ports: number[];
  /** 0: never. */
  dieAt: number;
}

class MortalTransport extends SocketTransport {
  private count = 0;

  constructor(
    path: string,
    private readonly dieAt: number,
  ) {
    super(`unix://${path}`, { path });
  }

  override async send(line: string, signal: AbortSignal): Promise<string> {
    const answer = await super.send(line, signal);
    if (++this.count === this.dieAt) process.kill(process.pid, "SIGKILL");
    return answer;
  }
}

async function main({ lineage, socket, map, version, ports, dieAt }: ConvergeRun): Promise<void> {
  const target = {
    map,
    key: "live",
    backends: ["blue", "green"] as const,
    lineage,
    checks: { intervalMs: 1000, passes: 2 },
  };
  const balancer = new HaproxyBalancer(new RuntimeApi(new MortalTransport(socket, dieAt)), target);
  const servers = ports.map((port): Server => {
    const place = { name: String(port), address: "127.0.0.1", port };
    return { ...place, name: formatServerName(lineage, hashVersion(version), place, "") };
  });
  const wish = { owner: `${lineage}/1`, version: hashVersion(version), health: "", settings: "", servers };
  await converge(balancer, wish, {
    healthTimeoutMs: 20_000,
    drainTimeoutMs: 20_000,
    signal: new AbortController().signal,
    onStatus: () => undefined,
    onWarning: () => undefined,
  });
}

if (require.main === module) void main(JSON.parse(process.argv[2] ?? "{}") as ConvergeRun);
