/** What the provider does for a `HaproxySwitch`: the same six functions as for an image. */
import { randomBytes } from "node:crypto";
import { describeError } from "../../core/errors";
import { containsUnknown } from "../../core/schema";
import { cancellable } from "../../provider/cancel";
import { flushLog, logOf } from "../../provider/engine-log";
import { isSettled, planActions, type Action, type Found } from "../plan";
import { GoneError, UnreachableError } from "./balancer";
import { checkSwitch, readOptions } from "./check";
import { converge, withdraw, type ConvergeOptions } from "./converge";
import { OWNER_SUFFIX } from "./haproxy-config";
import { ask, openSwitch, type OpenSwitch, type SwitchIdentity } from "./open";
import { parseOwner } from "./owner";
import { isPreview, type SwitchInputs, type SwitchState } from "./state";

const QUESTION_MS = 2000;
const STATUS_MS = 1000;

export async function check(_olds: unknown, news: SwitchInputs): Promise<SwitchInputs> {
  return Promise.resolve(checkSwitch(news));
}

/** The proxy is asked as well: of a run that was killed, or of a hand that changed it, the state knows nothing. */
export function diff(id: string, olds: SwitchState, news: SwitchInputs): Promise<{ changes?: boolean }> {
  return cancellable(async (signal) => {
    const log = logOf(news.__kiln.urn);
    try {
      if (olds.proxy.runtimeApi !== news.proxy.runtimeApi && /^docker:/.test(olds.proxy.runtimeApi))
        log.warnOnce("the proxy's container is replaced: for a moment, nobody answers requests");
      if (containsUnknown(news) || JSON.stringify(readOptions(olds)) !== JSON.stringify(readOptions(news)))
        return {};
      const actions = await ask(
        news,
        { id, lineage: olds.__kiln.lineage },
        QUESTION_MS,
        signal,
        async ({ balancer, wish }, limited) => planActions(await balancer.find(limited), wish),
      );
      if (isSettled(actions)) return { changes: false };
      log.info(`the proxy is not as it should be: ${listReasons(actions)}`);
      return { changes: true };
    } catch (error) {
      const dryRun = isPreview(news.__kiln.urn);
      const then = dryRun
        ? "the preview goes by the state"
        : "it is updated, so that nothing is removed behind it";
      log.warnOnce(`what the proxy does cannot be told, ${then}: ${describeError(error)}`);
      return { changes: !dryRun };
    } finally {
      await flushLog();
    }
  });
}

export function create(inputs: SwitchInputs): Promise<{ id: string; outs: SwitchState }> {
  return cancellable(async (signal) => {
    const id = randomBytes(6).toString("hex");
    const fresh = { id, lineage: randomBytes(4).toString("hex") };
    try {
      const open = await openSwitch(inputs, fresh, signal);
      await open.balancer.prepare(signal);
      const lineage = findLineage(await open.balancer.find(signal), open, inputs);
      return { id, outs: await run(inputs, { id, lineage: lineage ?? fresh.lineage }, signal) };
    } finally {
      await flushLog();
    }
  });
}

export function update(id: string, olds: SwitchState, news: SwitchInputs): Promise<{ outs: SwitchState }> {
  return cancellable(async (signal) => {
    try {
      return { outs: await run(news, { id, lineage: olds.__kiln.lineage }, signal) };
    } finally {
      await flushLog();
    }
  });
}

/** What the proxy really does; the state stays where that cannot be told. */
export function read(id: string, state: SwitchState): Promise<{ id: string; props: SwitchState }> {
  return cancellable(async (signal) => {
    const log = logOf(state.__kiln.urn);
    const identity = { id, lineage: state.__kiln.lineage };
    try {
      const { found, actions } = await ask(
        state,
        identity,
        QUESTION_MS,
        signal,
        async ({ balancer, wish }, limited) => {
          const answer = await balancer.find(limited);
          return { found: answer, actions: planActions(answer, wish) };
        },
      );
      if (!isSettled(actions)) log.info(`changed: ${listReasons(actions)}`);
      return { id, props: { ...state, active: found.live ?? "" } };
    } catch (error) {
      log.warn(`what the proxy does cannot be told, so the state is kept: ${describeError(error)}`);
      return { id, props: state };
    } finally {
      await flushLog();
    }
  });
}

/** Takes back this switch's own servers, and nothing where another resource has taken them over. */
export function remove(id: string, state: SwitchState): Promise<void> {
  return cancellable(async (signal) => {
    const log = logOf(state.__kiln.urn);
    try {
      const open = await openSwitch(state, { id, lineage: state.__kiln.lineage }, signal);
      const { owner } = await open.balancer.find(signal);
      if (owner !== undefined && owner !== open.wish.owner) return;
      await withdraw(open.balancer, describeRun(open, state.__kiln.urn, signal));
    } catch (error) {
      if (!(error instanceof GoneError) && !isStopped(error)) throw error;
      log.info(`the proxy is gone, and with it the servers: ${describeError(error)}`);
    } finally {
      await flushLog();
    }
  });
}

export { remove as delete };

/** A container that is there and does not run has no servers. */
function isStopped(error: unknown): boolean {
  return error instanceof UnreachableError && /is not running/.test(error.message);
}

async function run(
  inputs: SwitchInputs,
  identity: SwitchIdentity,
  signal: AbortSignal,
): Promise<SwitchState> {
  const open = await openSwitch(inputs, identity, signal);
  await open.balancer.prepare(signal);
  const found = await open.balancer.find(signal);
  findLineage(found, open, inputs);
  await converge(open.balancer, open.wish, describeRun(open, inputs.__kiln.urn, signal), found);
  const { live = "" } = await open.balancer.find(signal);
  const __kiln = { ...inputs.__kiln, lineage: identity.lineage };
  return { ...readOptions(inputs), active: live, __kiln, __provider: inputs.__provider };
}

/**
 * The names of the servers that are there, if this resource or the one that it replaces made them: it goes on with those.
 * Two switches on one key would undo each other's work for ever.
 */
function findLineage(
  { owner }: Found,
  { balancer, wish }: OpenSwitch,
  inputs: SwitchInputs,
): string | undefined {
  if (owner === undefined) return undefined;
  const [present, own] = [parseOwner(owner), parseOwner(wish.owner)];
  if (present.lineage === own.lineage || present.urn === own.urn) return present.lineage;
  const { key, map } = inputs.proxy;
  throw new Error(
    `Taking the key ${key} at ${balancer.address}: another switch (${owner}) has it. Give this one another key; or, if the other one's stack is gone, run "del map ${map} ${key}${OWNER_SUFFIX}" in the runtime API`,
  );
}

function describeRun(open: OpenSwitch, urn: string, signal: AbortSignal): ConvergeOptions {
  const log = logOf(urn);
  const last = { text: "", at: 0 };
  return {
    healthTimeoutMs: open.healthTimeoutMs,
    drainTimeoutMs: open.drainTimeoutMs,
    signal,
    onStatus(text) {
      if (text === last.text || Date.now() - last.at < STATUS_MS) return;
      Object.assign(last, { text, at: Date.now() });
      log.status(text);
    },
    onWarning: (text) => log.warn(text),
  };
}

/** In a few words what an update would do. */
function listReasons(actions: readonly Action[]): string {
  const words = actions.flatMap((action): string[] => {
    switch (action.do) {
      case "add":
        return [`${action.server.name} is missing in ${action.colour}`];
      case "enable":
        return [`${action.server} takes no requests`];
      case "switch":
        return [`requests should go to ${action.colour}`];
      case "remove":
        return [`${action.server} should not be in ${action.colour}`];
      case "save":
        return ["its files are not what it runs"];
      case "claim":
        return ["it has forgotten whose servers it has"];
      default:
        return [];
    }
  });
  return [...new Set(words)].join("; ");
}
