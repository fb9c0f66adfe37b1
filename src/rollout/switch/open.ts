/** From a resource's options to the balancer and the wish that the plan is made of. */
import { createHash } from "node:crypto";
import { parseDuration } from "../../core/duration";
import { withDeadline } from "../../core/retry";
import type { HaproxySwitchOptions } from "../options";
import type { Wish } from "../plan";
import type { Balancer } from "./balancer";
import { readOptions } from "./check";
import { formatOwner, hashUrn } from "./owner";
import { ContainerFiles } from "./container-files";
import { HaproxyBalancer } from "./haproxy-balancer";
import { hashHealth, hashSettings, type HealthChecks } from "./haproxy-config";
import { RuntimeApi } from "./runtime-api";
import { ProxyContainer } from "./proxy-container";
import {
  ContainerTransport,
  parseRuntimeApi,
  SocketTransport,
  type RuntimeTransport,
} from "./runtime-transport";
import { formatServerName, hashVersion } from "./server-name";
import type { SwitchInputs } from "./state";

const DEFAULTS = { interval: "1s", passes: 3, healthTimeout: "60s", drainTimeout: "30s" };

/** A switch's balancer, and what it should be like. */
export interface OpenSwitch {
  balancer: Balancer;
  wish: Wish;
  healthTimeoutMs: number;
  drainTimeoutMs: number;
}

/** Whose servers they are. */
export interface SwitchIdentity {
  id: string;
  lineage: string;
}

/** Connects to no proxy yet, but for `docker://` to its engine. */
export async function openSwitch(
  inputs: SwitchInputs,
  { id, lineage }: SwitchIdentity,
  signal: AbortSignal,
): Promise<OpenSwitch> {
  const options = readOptions(inputs);
  const [blue = "", green = ""] = options.proxy.backends;
  const { map, key } = options.proxy;
  const owner = formatOwner({ lineage, urn: hashUrn(inputs.__kiln.urn), id });
  const checks = readChecks(options);
  const target = { map, key, backends: [blue, green] as const, lineage, checks };
  const settings = options.configuration && {
    ...options.configuration,
    certificates: options.certificates ?? [],
    ...target,
    owner,
  };
  const { transport, container } = await openTransport(options, signal);
  const files = settings && container && new ContainerFiles(container, settings);
  return {
    balancer: new HaproxyBalancer(new RuntimeApi(transport), target, files),
    wish: {
      owner,
      version: hashVersion(options.version),
      health: settings ? hashHealth(settings) : "",
      settings: settings ? hashSettings(settings) : "",
      servers: nameServers(options, lineage),
    },
    healthTimeoutMs: parseDuration(options.health?.timeout ?? DEFAULTS.healthTimeout),
    drainTimeoutMs: parseDuration(options.drain?.timeout ?? DEFAULTS.drainTimeout),
  };
}

function readChecks({ health }: HaproxySwitchOptions): HealthChecks {
  return {
    intervalMs: parseDuration(health?.interval ?? DEFAULTS.interval),
    passes: health?.passes ?? DEFAULTS.passes,
  };
}

function nameServers(options: HaproxySwitchOptions, lineage: string): Wish["servers"] {
  const checks = createHash("sha256")
    .update(JSON.stringify(readChecks(options)))
    .digest("hex");
  const version = hashVersion(options.version);
  return options.servers.map((server) => ({
    name: formatServerName(lineage, version, server, checks),
    address: server.address,
    port: server.port,
  }));
}

async function openTransport(
  { proxy, host }: HaproxySwitchOptions,
  signal: AbortSignal,
): Promise<{ transport: RuntimeTransport; container?: ProxyContainer }> {
  const place = parseRuntimeApi(proxy.runtimeApi);
  if (!place) throw new Error(`Reading proxy.runtimeApi: "${proxy.runtimeApi}" is no address`);
  if (!("container" in place)) return { transport: new SocketTransport(proxy.runtimeApi, place) };
  const container = await ProxyContainer.connect(place.container, host, signal);
  return { transport: new ContainerTransport(container, place.port), container };
}

/** Asks, for at most so long: previews often run where there is no proxy. */
export function ask<T>(
  inputs: SwitchInputs,
  identity: SwitchIdentity,
  deadlineMs: number,
  signal: AbortSignal,
  question: (open: OpenSwitch, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return withDeadline(`Asking the proxy at ${inputs.proxy.runtimeApi}`, deadlineMs, signal, async (limited) =>
    question(await openSwitch(inputs, identity, limited), limited),
  );
}
