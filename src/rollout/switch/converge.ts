/** Makes a balancer what it should be: plans, does, and waits where the plan says so. */
import { formatDuration } from "../../core/duration";
import { describeError } from "../../core/errors";
import { sleep } from "../../core/retry";
import { chooseTarget, planActions, planRemoval, type Action, type Found, type Wish } from "../plan";
import type { Balancer, ServerTraffic, Traffic } from "./balancer";

const POLL_MS = 50;
/** A request may be on its way from the frontend to a server: quiet is what was seen quiet several times. */
const QUIET_POLLS = 3;
const UNDO_MS = 2000;

/** How long to wait, and whom to tell. */
export interface ConvergeOptions {
  /** How long new servers may take to be healthy. */
  healthTimeoutMs: number;
  /** How long old servers may take to finish what they do. */
  drainTimeoutMs: number;
  signal: AbortSignal;
  /** What is going on, for a line that is overwritten. */
  onStatus: (text: string) => void;
  onWarning: (text: string) => void;
}

/** What a run did. */
export interface ConvergeReport {
  actions: Action[];
  /** Connections that were ended because the drain took too long. */
  cut: number;
}

/**
 * Converges on the wish. If new servers stay unhealthy, takes them back and throws; all else is as it was. `known` is what was
 * found a moment ago.
 */
export async function converge(
  balancer: Balancer,
  wish: Wish,
  options: ConvergeOptions,
  known?: Found,
): Promise<ConvergeReport> {
  const found = known ?? (await balancer.find(options.signal));
  requireNoStrangers(found, wish, balancer.address);
  const actions = planActions(found, wish);
  const run = new Run(balancer, wish, actions, options);
  await run.runAll();
  return { actions, cut: run.cut };
}

/** Takes back all servers of this switch, when they have finished what they do. */
export async function withdraw(balancer: Balancer, options: ConvergeOptions): Promise<ConvergeReport> {
  const actions = planRemoval(await balancer.find(options.signal));
  const run = new Run(balancer, { servers: [] }, actions, options);
  await run.runAll();
  await balancer.disown(options.signal);
  return { actions, cut: run.cut };
}

/** They would get requests with the switch, and are not ours to remove. */
function requireNoStrangers(found: Found, wish: Wish, address: string): void {
  const target = chooseTarget(found, wish);
  if (target === found.live) return;
  const colour = found.colours.find((one) => one.name === target);
  const strangers = (colour?.servers ?? []).filter((one) => one.version === undefined && one.accepting);
  if (strangers.length === 0) return;
  throw new Error(
    `Switching to ${target} at ${address}: it holds servers that this switch did not add (${strangers.map((one) => one.name).join(", ")}). Remove them, or set them to maintenance`,
  );
}

class Run {
  cut = 0;

  constructor(
    private readonly balancer: Balancer,
    private readonly wish: Pick<Wish, "servers">,
    private readonly actions: readonly Action[],
    private readonly options: ConvergeOptions,
  ) {}

  async runAll(): Promise<void> {
    for (const action of this.actions) await this.run(action);
  }

  private async run(action: Action): Promise<void> {
    const { signal } = this.options;
    switch (action.do) {
      case "await":
        return this.awaitHealth(action.colour, action.servers);
      case "drain":
        return this.drain(action);
      case "remove":
        return this.remove(action);
      default:
        if (action.do === "switch") this.options.onStatus(`new requests go to ${action.colour}`);
        return this.balancer.apply(action, signal);
    }
  }

  private async awaitHealth(colour: string, names: readonly string[]): Promise<void> {
    const { healthTimeoutMs, signal, onStatus } = this.options;
    const end = Date.now() + healthTimeoutMs;
    const answers = new Map<string, string>();
    for (;;) {
      const { servers } = await this.balancer.watch(signal);
      const states = servers.filter((server) => server.colour === colour && names.includes(server.name));
      const sick = states.filter((server) => !server.isHealthy);
      if (states.length === names.length && sick.length === 0) return;
      for (const { name, answer } of sick) if (answer) answers.set(name, answer);
      onStatus(`${names.length - sick.length} of ${names.length} servers healthy`);
      if (Date.now() > end) throw await this.giveUp(colour, names, sick, answers);
      await sleep(POLL_MS, signal);
    }
  }

  private async giveUp(
    colour: string,
    names: readonly string[],
    sick: readonly ServerTraffic[],
    answers: ReadonlyMap<string, string>,
  ): Promise<Error> {
    const reasons = sick
      .map(({ name }) => `${this.describePlace(name)}: ${answers.get(name) ?? "not checked yet"}`)
      .join("; ");
    const limit = formatDuration(this.options.healthTimeoutMs);
    const left = await this.takeBack();
    return new Error(
      `Waiting for ${names.length} servers in ${colour}: not healthy in ${limit} (${reasons}). Nothing was switched, and what served before goes on. Does the application answer the health check?${left}`,
    );
  }

  /** People know where it is; its name is for the proxy. */
  private describePlace(name: string): string {
    const server = this.wish.servers.find((one) => one.name === name);
    return server ? `${server.address}:${server.port}` : name;
  }

  /** Servers that this run added. What else it did is right in itself. */
  private async takeBack(): Promise<string> {
    const added = this.actions.flatMap((action) =>
      action.do === "add" ? [{ colour: action.colour, name: action.server.name }] : [],
    );
    try {
      for (const { colour, name } of added) {
        await this.run({ do: "stop", colour, server: name });
        await this.run({ do: "drain", colour, servers: [name], stays: false });
        await this.run({ do: "remove", colour, server: name, stays: false });
      }
      return "";
    } catch (error) {
      return ` Taking them out again failed, the next run does it: ${describeError(error)}`;
    }
  }

  private async drain({ colour, servers, stays }: Extract<Action, { do: "drain" }>): Promise<void> {
    const { drainTimeoutMs, signal, onStatus } = this.options;
    const end = Date.now() + drainTimeoutMs;
    for (let quiet = 0, polls = 0; quiet < QUIET_POLLS; polls++) {
      const traffic = await this.balancer.watch(signal);
      const open = countOpen(traffic, colour, servers);
      quiet = open === 0 ? quiet + 1 : 0;
      // Their program goes on: nobody waits for them.
      if (stays && polls >= QUIET_POLLS) return;
      if (quiet === QUIET_POLLS) return;
      if (open > 0) onStatus(`${open} requests of the old servers still run`);
      if (Date.now() > end) return this.cutAll(traffic, colour, servers);
      await sleep(POLL_MS, signal);
    }
  }

  private async cutAll(traffic: Traffic, colour: string, names: readonly string[]): Promise<void> {
    const { signal, onWarning, drainTimeoutMs } = this.options;
    const busy = traffic.servers.filter(
      (server) => server.colour === colour && names.includes(server.name) && server.open > 0,
    );
    const count = busy.reduce((sum, server) => sum + server.open, 0);
    this.cut += count;
    for (const { name } of busy) await this.balancer.cut(colour, name, signal);
    if (count > 0)
      onWarning(
        `${count} connections to old servers were cut: they were not done in ${formatDuration(drainTimeoutMs)} (drain.timeout)`,
      );
  }

  private async remove(action: Extract<Action, { do: "remove" }>): Promise<void> {
    const { signal } = this.options;
    const end = Date.now() + UNDO_MS;
    for (;;) {
      const { servers, live } = await this.balancer.watch(signal);
      const server = servers.find((one) => one.colour === action.colour && one.name === action.server);
      // A balancer that was restarted meanwhile may serve from what is to go.
      if (server && live === action.colour && server.isHealthy)
        throw new Error(
          `Removing ${action.server} from ${action.colour} at ${this.balancer.address}: it takes requests again. Was the proxy restarted? Run \`pulumi up\` again`,
        );
      if (!server || (action.stays && server.open > 0)) return;
      try {
        return await this.balancer.apply(action, signal);
      } catch (error) {
        // A connection is counted out a moment before it is let go.
        if (signal.aborted || Date.now() > end) throw error;
      }
      await sleep(POLL_MS, signal);
    }
  }
}

/** In the colour that takes no new requests, also those that no server has yet. */
function countOpen(traffic: Traffic, colour: string, names: readonly string[]): number {
  const own = traffic.servers.filter((server) => server.colour === colour && names.includes(server.name));
  const ofServers = own.reduce((sum, server) => sum + server.open, 0);
  const isAlone = traffic.servers.filter((server) => server.colour === colour).length === own.length;
  return traffic.live !== colour && isAlone ? Math.max(ofServers, traffic.open[colour] ?? 0) : ofServers;
}
