import { sleep } from "../../core/retry";
import type { Colour, Found, FoundServer, Saved, Server } from "../plan";
import { UnreachableError, type Balancer, type Command, type Traffic } from "./balancer";
import {
  explainRefusal,
  isAccepting,
  listEnabling,
  ownerKey,
  parseMap,
  readTraffic,
  sumOpen,
} from "./haproxy-answers";
import { formatChecks, formatPlace, type HealthChecks } from "./haproxy-config";
import { parseTable, type RuntimeApi, type Workers } from "./runtime-api";
import { readVersion } from "./server-name";

const POLL_MS = 50;
const RELOAD_MS = 20_000;

/** What of the proxy the switch works with. */
export interface HaproxyTarget {
  map: string;
  key: string;
  backends: readonly [string, string];
  /** Part of the names of all servers of this switch. */
  lineage: string;
  checks: HealthChecks;
}

/** The proxy's configuration, where the switch writes it. */
export interface ProxyFiles {
  /** The backend that leads back to the proxy itself: to its new worker, after a reload. */
  readonly nextBackend: string;
  prepare(api: RuntimeApi, signal: AbortSignal): Promise<void>;
  findSaved(signal: AbortSignal): Promise<Saved | "altered">;
  /** What the running proxy says of the configuration that it started with. */
  readRunning(description: string): { settings: string; health: { [backend: string]: string } };
  save(saved: Saved, signal: AbortSignal): Promise<void>;
}

/** HAProxy 2.6 or newer, by its runtime API: two backends, and a map's key that says which one new requests go to. */
export class HaproxyBalancer implements Balancer {
  constructor(
    private readonly api: RuntimeApi,
    private readonly target: HaproxyTarget,
    private readonly files?: ProxyFiles,
  ) {}

  get address(): string {
    return this.api.address;
  }

  async prepare(signal: AbortSignal): Promise<void> {
    await this.files?.prepare(this.api, signal);
  }

  async find(signal: AbortSignal): Promise<Found> {
    const { map, key, backends } = this.target;
    const current = await this.api.findCurrent(signal);
    const commands = [
      `show map ${map}`,
      ...backends.map((name) => `show servers state ${name}`),
      "show info",
    ];
    const [entries = "", first = "", second = "", info = ""] = await this.api.ask(current, commands, signal);
    const table = parseMap(this.requireAnswer(commands[0] ?? "", entries, /^(0x|$)/));
    const running = this.files?.readRunning(/^description: (.*)$/im.exec(info)?.[1] ?? "");
    const describe = (name: string, answer: string): Colour => ({
      name,
      health: running?.health[name] ?? "",
      servers: parseTable(this.requireAnswer(`show servers state ${name}`, answer, /^\d+$/m), " ").map(
        (row) => this.readServer(row),
      ),
    });
    if (!table.has(key))
      throw new Error(
        `Looking for the key ${key} in HAProxy's map ${map}: it is not there. Add the line "${key} ${backends[0]}" to that file`,
      );
    return {
      owner: table.get(ownerKey(key)),
      live: table.get(key),
      colours: [describe(backends[0], first), describe(backends[1], second)],
      settings: running?.settings ?? "",
      saved: await this.files?.findSaved(signal),
    };
  }

  async watch(signal: AbortSignal): Promise<Traffic> {
    const { map, key, backends } = this.target;
    const workers = await this.api.listWorkers(signal);
    const states = backends.map((name) => `show servers state ${name}`);
    const answers = await this.api.ask(
      workers.current,
      [`show map ${map}`, ...states, ...this.statistics()],
      signal,
    );
    const rows = [...parseTable(answers[1] ?? "", " "), ...parseTable(answers[2] ?? "", " ")];
    const counts = answers.slice(3).flatMap((answer) => parseTable(answer, ","));
    const old = await this.countLeaving(workers, signal);
    const open = sumOpen([...counts, ...old]);
    return {
      live: parseMap(answers[0] ?? "").get(key),
      open: Object.fromEntries(backends.map((name) => [name, open.get(`${name}/BACKEND`) ?? 0])),
      servers: rows.map((row) => readTraffic(row, counts, open)),
    };
  }

  async apply(command: Command, signal: AbortSignal): Promise<void> {
    switch (command.do) {
      case "claim":
        return this.writeMap(ownerKey(this.target.key), command.owner, signal);
      case "add":
        return this.addServer(command.colour, command.server, signal);
      case "enable":
        return this.enableServer(command.colour, command.server, signal);
      case "stop":
        return this.command(`set server ${command.colour}/${command.server} state drain`, /^$/, signal);
      case "remove":
        return this.removeServer(command.colour, command.server, signal);
      case "switch":
        await this.command(`set map ${this.target.map} ${this.target.key} ${command.colour}`, /^$/, signal);
        return this.redirectLeaving(signal);
      case "save":
        return this.files?.save(command.saved, signal);
      case "reload":
        return this.reload(signal);
    }
  }

  async cut(colour: string, server: string, signal: AbortSignal): Promise<void> {
    const { current, leaving } = await this.api.listWorkers(signal);
    await this.api.ask(current, [`shutdown sessions server ${colour}/${server}`], signal);
    for (const worker of leaving) {
      // Of its proxies, which it has stopped, such a worker takes no commands; of its sessions it does.
      const [sessions = ""] = await this.askLeaving(worker, ["show sess"], signal);
      const own = sessions.split("\n").filter((line) => line.includes(` be=${colour} srv=${server} `));
      const ids = own.map((line) => line.slice(0, line.indexOf(":")));
      await this.askLeaving(worker, ids.map((id) => `shutdown session ${id}`), signal); // prettier-ignore
    }
  }

  async disown(signal: AbortSignal): Promise<void> {
    const { map, key } = this.target;
    const current = await this.api.findCurrent(signal);
    // Not there is as good: a restart forgets it.
    await this.api.ask(current, [`del map ${map} ${ownerKey(key)}`], signal);
  }

  private async addServer(backend: string, server: Server, signal: AbortSignal): Promise<void> {
    const checks = formatChecks(this.target.checks);
    const add = `add server ${backend}/${server.name} ${formatPlace(server)} ${checks}`;
    await this.command(add, /registered/, signal);
    await this.enableServer(backend, server.name, signal);
  }

  private async enableServer(backend: string, name: string, signal: AbortSignal): Promise<void> {
    const commands = listEnabling(`${backend}/${name}`);
    this.requireEmpty(commands, await this.askCurrent(commands, signal));
  }

  private async removeServer(backend: string, name: string, signal: AbortSignal): Promise<void> {
    await this.command(`set server ${backend}/${name} state maint`, /^$/, signal);
    await this.command(`del server ${backend}/${name}`, /deleted/, signal);
  }

  private async reload(signal: AbortSignal): Promise<void> {
    const before = await this.api.listWorkers(signal);
    await this.api.reload(signal);
    const end = Date.now() + RELOAD_MS;
    for (;;) {
      const now = await this.listAnyWorkers(signal);
      if (now && now.id !== before.id) break;
      if (now && now.failedReloads > before.failedReloads)
        throw new Error(
          `Reloading HAProxy at ${this.address}: it refused, and runs on as before. Its log says why`,
        );
      if (Date.now() > end)
        throw new UnreachableError(`Reloading HAProxy at ${this.address}: no new worker came up`);
      await sleep(POLL_MS, signal);
    }
    await this.redirectLeaving(signal);
  }

  /** The master process starts itself anew, and does not answer meanwhile. */
  private async listAnyWorkers(signal: AbortSignal): Promise<Workers | undefined> {
    try {
      const workers = await this.api.listWorkers(signal);
      return workers.id === "" ? undefined : workers;
    } catch (error) {
      if (signal.aborted || !(error instanceof Error)) throw error;
      return undefined; // asked again until the deadline
    }
  }

  /** A worker that was replaced knows no new servers: what its clients still ask for is passed on to the new worker. */
  private async redirectLeaving(signal: AbortSignal): Promise<void> {
    if (!this.files) return;
    const { leaving } = await this.api.listWorkers(signal);
    const { map, key } = this.target;
    for (const worker of leaving)
      await this.askLeaving(worker, [`set map ${map} ${key} ${this.files.nextBackend}`], signal);
  }

  private async countLeaving(workers: Workers, signal: AbortSignal): Promise<Record<string, string>[]> {
    const counts: Record<string, string>[] = [];
    for (const worker of workers.leaving) {
      const answers = await this.askLeaving(worker, this.statistics(), signal);
      counts.push(...answers.flatMap((answer) => parseTable(answer, ",")));
    }
    return counts;
  }

  /** It may have ended since it was listed: then it has nothing to tell, or to be told. */
  private async askLeaving(worker: string, commands: string[], signal: AbortSignal): Promise<string[]> {
    if (commands.length === 0) return [];
    try {
      return await this.api.ask(worker, commands, signal);
    } catch (error) {
      const { leaving } = await this.api.listWorkers(signal);
      if (leaving.includes(worker)) throw error;
      return [];
    }
  }

  /** Rows of the backends (2) and of their servers (4). */
  private statistics(): string[] {
    return this.target.backends.map((name) => `show stat ${name} 6 -1`);
  }

  private async writeMap(key: string, value: string, signal: AbortSignal): Promise<void> {
    const { map } = this.target;
    const current = await this.api.findCurrent(signal);
    const [entries = ""] = await this.api.ask(current, [`show map ${map}`], signal);
    const verb = parseMap(entries).has(key) ? "set" : "add";
    await this.command(`${verb} map ${map} ${key} ${value}`, /^$/, signal);
  }

  private async command(command: string, expected: RegExp, signal: AbortSignal): Promise<void> {
    const [answer = ""] = await this.askCurrent([command], signal);
    this.requireAnswer(command, answer, expected);
  }

  private async askCurrent(commands: readonly string[], signal: AbortSignal): Promise<string[]> {
    return this.api.ask(await this.api.findCurrent(signal), commands, signal);
  }

  private requireEmpty(commands: readonly string[], answers: readonly string[]): void {
    commands.forEach((command, index) => this.requireAnswer(command, answers[index] ?? "", /^$/));
  }

  private requireAnswer(command: string, answer: string, expected: RegExp): string {
    if (expected.test(answer)) return answer;
    throw new Error(`Asking HAProxy at ${this.address} to ${command}: ${explainRefusal(answer)}`);
  }

  private readServer(row: Record<string, string>): FoundServer {
    const name = row["srv_name"] ?? "";
    return {
      name,
      address: row["srv_addr"] ?? "",
      port: Number(row["srv_port"]),
      version: readVersion(this.target.lineage, name),
      accepting: isAccepting(row),
    };
  }
}
