/** A load balancer with a world: programs that answer checks or do not, requests that take as long as a test likes. */
import { applyAction, type Found, type FoundServer, type Saved, type Server } from "../../src/rollout/plan";
import type { Balancer, Command, Traffic } from "../../src/rollout/switch/balancer";

export const BLUE = "blue";
export const GREEN = "green";

export class FakeBalancer implements Balancer {
  readonly address = "fake";
  found: Found = {
    owner: undefined,
    live: BLUE,
    colours: [
      { name: BLUE, health: "", servers: [] },
      { name: GREEN, health: "", servers: [] },
    ],
    settings: "",
    saved: undefined,
  };
  /** Places whose programs answer their checks. */
  readonly healthy = new Set<string>();
  /** Requests that run, by colour and server. */
  readonly open = new Map<string, number>();
  readonly commands: string[] = [];
  cut_ = 0;
  private readonly told = new Set<string>();

  constructor(private readonly readVersion: (name: string) => string | undefined) {}

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  find(): Promise<Found> {
    return Promise.resolve(this.found);
  }

  watch(): Promise<Traffic> {
    const servers = this.found.colours.flatMap((colour) =>
      colour.servers.map((server) => {
        const works = this.healthy.has(placeOf(server));
        return {
          colour: colour.name,
          name: server.name,
          isHealthy: server.accepting && works,
          answer: this.answerOnce(server.name, works),
          open: this.open.get(`${colour.name}/${server.name}`) ?? 0,
        };
      }),
    );
    const open = (name: string): number =>
      servers.filter((server) => server.colour === name).reduce((sum, server) => sum + server.open, 0);
    return Promise.resolve({
      live: this.found.live,
      servers,
      open: { [BLUE]: open(BLUE), [GREEN]: open(GREEN) },
    });
  }

  /** At the second look, and ever after, a check is running: the hardest case for who wants to tell the answer. */
  private answerOnce(name: string, works: boolean): string {
    if (this.told.has(name)) return "";
    this.told.add(name);
    return works ? "UP L7OK 200" : "DOWN L7STS 503";
  }

  apply(command: Command): Promise<void> {
    this.commands.push(command.do);
    if (command.do === "add" && this.findServer(command.colour, command.server.name))
      throw new Error(`Adding ${command.server.name}: it is there`);
    if (command.do === "remove" && !this.findServer(command.colour, command.server))
      throw new Error(`Removing ${command.server}: it is not there`);
    if (command.do === "remove" && (this.open.get(`${command.colour}/${command.server}`) ?? 0) > 0)
      throw new Error(`Removing ${command.server}: it works on requests`);
    this.found = applyAction(this.found, command);
    if (command.do === "add") this.readVersions();
    return Promise.resolve();
  }

  cut(colour: string, server: string): Promise<void> {
    this.cut_ += this.open.get(`${colour}/${server}`) ?? 0;
    this.open.delete(`${colour}/${server}`);
    return Promise.resolve();
  }

  disown(): Promise<void> {
    this.found = { ...this.found, owner: undefined };
    return Promise.resolve();
  }

  /** One that somebody else put there. */
  addStranger(colour: string, server: Server): void {
    this.found = applyAction(this.found, { do: "add", colour, server, version: "" });
    this.readVersions();
  }

  /** A request that comes in now; returns where it went. */
  request(): string | undefined {
    const colour = this.found.colours.find((one) => one.name === this.found.live);
    const server = colour?.servers.find((one) => one.accepting && this.healthy.has(placeOf(one)));
    if (!colour || !server) return undefined;
    const name = `${colour.name}/${server.name}`;
    this.open.set(name, (this.open.get(name) ?? 0) + 1);
    return name;
  }

  end(name: string): void {
    this.open.set(name, (this.open.get(name) ?? 1) - 1);
  }

  private findServer(colour: string, name: string): FoundServer | undefined {
    return this.found.colours
      .find((one) => one.name === colour)
      ?.servers.find((server) => server.name === name);
  }

  /** A real one knows the names only. */
  private readVersions(): void {
    const [first, second] = this.found.colours.map((colour) => ({
      ...colour,
      servers: colour.servers.map((server) => ({ ...server, version: this.readVersion(server.name) })),
    }));
    if (first && second) this.found = { ...this.found, colours: [first, second] };
  }
}

export function placeOf({ address, port }: Server): string {
  return `${address}:${port}`;
}

/** As after a restart: it serves what it has kept, or what its file has always said. */
export function restart(found: Found): Found {
  const saved: Saved | undefined = found.saved === "altered" ? undefined : found.saved;
  const one = (colour: Found["colours"][0]): Found["colours"][0] => ({
    ...colour,
    servers: colour.servers.filter(
      (server) =>
        server.version === undefined ||
        saved?.servers[colour.name]?.some((kept) => kept.name === server.name),
    ),
  });
  return {
    ...found,
    owner: saved?.owner,
    live: saved?.live ?? found.colours[0].name,
    colours: [one(found.colours[0]), one(found.colours[1])],
  };
}
