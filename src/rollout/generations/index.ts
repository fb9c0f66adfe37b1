/**
 * What the provider does for a `Generation`: it remembers which addresses were given out, so that the next version's
 * containers get others, and a restart brings each back to its own. Everything happens in `check`: previews know it.
 */
import { createHash, randomBytes } from "node:crypto";
import { describeError, ValidationError } from "../../core/errors";
import { containsUnknown, UNKNOWN } from "../../core/schema";
import { cancellable } from "../../provider/cancel";
import { flushLog, logOf } from "../../provider/engine-log";
import { findEndpoint } from "../../platforms/docker/endpoint";
import { connectEngine } from "../../platforms/docker/engine";
import { allot, type Allotment } from "./allot";
import { chooseSubnet, parseSubnet, type Subnet } from "./subnet";

const QUESTION_MS = 2000;

/** The shape of what Pulumi keeps; for ever. */
export interface GenerationInputs extends Partial<Allotment> {
  content: string;
  replicas: number;
  wishedSubnet?: string;
  host?: string;
  __kiln: { type: string; stateVersion: number; urn: string; from: string };
  __provider?: string;
}

// On the global object: the provider's text in each resource may load a module of its own.
const key = Symbol.for("pulumi-kiln.generation-memory");
const holder = globalThis as { [key]?: Map<string, Partial<GenerationInputs>> };
const memories = (holder[key] ??= new Map<string, Partial<GenerationInputs>>());

export function check(olds: Partial<GenerationInputs>, news: GenerationInputs): Promise<GenerationInputs> {
  return cancellable(async (signal) => {
    const { content, replicas, wishedSubnet, host, __provider } = news;
    const { __kiln } = news;
    const { urn } = __kiln;
    // A replacement is checked a second time, without its old inputs.
    const previous = olds.subnet === undefined ? (memories.get(urn) ?? olds) : olds;
    memories.set(urn, previous);
    if (wishedSubnet !== undefined && wishedSubnet !== UNKNOWN && !parseSubnet(wishedSubnet))
      throw new ValidationError([
        {
          path: "network.subnet",
          reason: `expected an IPv4 network such as "10.99.0.0/24", got "${wishedSubnet}"`,
        },
      ]);
    const subnet = wishedSubnet ?? previous.subnet ?? (await findSubnet(urn, host, signal));
    const kept = dropUndefined({ content, replicas, wishedSubnet, host, __kiln, __provider });
    if (!containsUnknown([content, subnet]))
      return { ...kept, ...allot(previous, { content, replicas, subnet }) };
    const { proxyAddress = UNKNOWN, foreignRange = UNKNOWN, next = 0 } = previous;
    const unknown = { generation: UNKNOWN, addresses: UNKNOWN } as unknown as Allotment;
    return { ...kept, ...unknown, subnet, proxyAddress, foreignRange, next };
  });
}

export function diff(
  _id: string,
  olds: GenerationInputs,
  news: GenerationInputs,
): Promise<{ changes?: boolean }> {
  const describe = ({ __kiln, __provider, ...rest }: GenerationInputs): string =>
    JSON.stringify(Object.entries(rest).sort());
  return Promise.resolve(describe(olds) === describe(news) ? { changes: false } : {});
}

export function create(inputs: GenerationInputs): Promise<{ id: string; outs: GenerationInputs }> {
  return Promise.resolve({ id: randomBytes(6).toString("hex"), outs: inputs });
}

export function update(
  _id: string,
  _olds: GenerationInputs,
  news: GenerationInputs,
): Promise<{ outs: GenerationInputs }> {
  return Promise.resolve({ outs: news });
}

export function read(id: string, state: GenerationInputs): Promise<{ id: string; props: GenerationInputs }> {
  return Promise.resolve({ id, props: state });
}

/** There is nothing but the state. */
export function remove(): Promise<void> {
  return Promise.resolve();
}

export { remove as delete };

/** One that no network of the engine has. Without an engine any will do: then nothing is made from it. */
async function findSubnet(urn: string, host: string | undefined, signal: AbortSignal): Promise<string> {
  const seed = createHash("sha256").update(urn).digest().readUInt16BE(0);
  try {
    return chooseSubnet(seed, await listSubnets(host, signal));
  } catch (error) {
    logOf(urn).warnOnce(`which networks the engine has cannot be told: ${describeError(error)}`);
    await flushLog();
    return chooseSubnet(seed, []);
  }
}

async function listSubnets(host: string | undefined, signal: AbortSignal): Promise<Subnet[]> {
  const engine = await connectEngine(findEndpoint({ host }), { signal, timeoutMs: QUESTION_MS });
  const { body } = await engine.request<{ IPAM?: { Config?: { Subnet?: string }[] | null } }[]>({
    attempt: "Listing the engine's networks",
    method: "GET",
    path: "/networks",
    signal,
  });
  return body.flatMap(({ IPAM }) =>
    (IPAM?.Config ?? []).flatMap(({ Subnet }) => parseSubnet(Subnet ?? "") ?? []),
  );
}

/** The engine takes no values that are not there. */
function dropUndefined<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
