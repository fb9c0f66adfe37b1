/**
 * The rules of blue/green: from what a load balancer is like, and what it should be like, to what is to be done. Pure: it
 * imports nothing but its own words. The balancer's own state is the only truth, so a run that was killed anywhere is
 * followed by one that finishes the job. In every plan: no traffic goes where health was not seen, something healthy
 * serves at each moment, nothing is removed that still works on a request, and nothing that is not ours is removed at all.
 */
import {
  applyAction,
  type Action,
  type Colour,
  type Found,
  type FoundServer,
  type Saved,
  type Server,
  type Wish,
} from "./plan-model";

export * from "./plan-model";

/** The actions, in order, that make the balancer what it should be. */
export function planActions(found: Found, wish: Wish): Action[] {
  const draft = new Draft(found);
  const target = chooseTarget(found, wish);
  const other = found.colours.find((colour) => colour.name !== target)?.name ?? "";
  if (found.owner !== wish.owner) draft.act({ do: "claim", owner: wish.owner });
  if (found.live !== target) clearIdle(draft, target, wish);
  configure(draft, target, wish);
  const fresh = addServers(draft, target, wish);
  const isLive = draft.now.live === target;
  // Where some go, those that stay must be able to carry on.
  const isShrinking = listOwn(colourOf(draft.now, target)).some((server) => !isWanted(server, wish));
  const awaited = isLive && !isShrinking ? fresh : wish.servers.map((server) => server.name);
  if (awaited.length > 0) draft.act({ do: "await", colour: target, servers: awaited });
  if (!isLive || fresh.length > 0) draft.save({ ...describeNow(draft, wish), live: target });
  if (!isLive) draft.act({ do: "switch", colour: target });
  removeServers(draft, target, (server) => isWanted(server, wish), wish);
  removeServers(draft, other, () => false, wish);
  draft.save(describeEnd(draft, target, wish));
  return draft.actions;
}

/** The actions that take back everything of ours. */
export function planRemoval(found: Found): Action[] {
  const draft = new Draft(found);
  for (const colour of found.colours) removeServers(draft, colour.name, () => false, undefined);
  return draft.actions;
}

/** Whether nothing is left to do but to wait for connections of servers that stay. */
export function isSettled(actions: readonly Action[]): boolean {
  return actions.every((action) => (action.do === "drain" || action.do === "remove") && action.stays);
}

/** The colour that is to serve: the live one if only its servers differ, or if it serves nobody, else the other. */
export function chooseTarget(found: Found, wish: Wish): string {
  const [first, second] = found.colours;
  const live = found.colours.find((colour) => colour.name === found.live);
  if (live && isSameVersion(live, wish)) return live.name;
  const prepared = found.colours.find((colour) => listOwn(colour).some((server) => isWanted(server, wish)));
  if (!live || !live.servers.some((server) => server.accepting)) return (prepared ?? live ?? first).name;
  return live === first ? second.name : first.name;
}

function isSameVersion(colour: Colour, wish: Wish): boolean {
  // One that was told to stop is on its way out, whatever it runs.
  const own = listOwn(colour).filter((server) => server.accepting || isWanted(server, wish));
  return (
    own.length > 0 &&
    colour.health === wish.health &&
    own.every(
      (server) => server.version === wish.version && (isWanted(server, wish) || !hasName(wish, server)),
    )
  );
}

/** Remains of a run that did not end: nobody sends new requests there. */
function clearIdle(draft: Draft, colour: string, wish: Wish): void {
  const reload = needsReload(draft.now, colour, wish);
  removeServers(draft, colour, (server) => !reload && isWanted(server, wish), wish);
}

/** Health of the live colour stays as it is: its servers need not know the new one. */
function configure(draft: Draft, target: string, wish: Wish): void {
  if (!needsReload(draft.now, target, wish)) return;
  const { health, ...now } = describeNow(draft, wish);
  draft.save({ ...now, health: { ...health, [target]: wish.health } });
  draft.act({ do: "reload" });
}

function needsReload(found: Found, target: string, wish: Wish): boolean {
  if (found.saved === undefined) return false;
  // What was written by another hand may run already.
  if (found.saved === "altered") return true;
  return found.settings !== wish.settings || colourOf(found, target).health !== wish.health;
}

/** Returns the names of those whose health is to be seen. */
function addServers(draft: Draft, target: string, wish: Wish): string[] {
  const fresh: string[] = [];
  for (const server of wish.servers) {
    const present = colourOf(draft.now, target).servers.find((one) => one.name === server.name);
    if (present?.accepting) continue;
    fresh.push(server.name);
    if (present) draft.act({ do: "enable", colour: target, server: server.name });
    else draft.act({ do: "add", colour: target, server, version: wish.version });
  }
  return fresh;
}

function removeServers(
  draft: Draft,
  colour: string,
  isKept: (server: FoundServer) => boolean,
  wish: Wish | undefined,
): void {
  const gone = listOwn(colourOf(draft.now, colour)).filter((server) => !isKept(server));
  for (const stays of [false, true]) {
    const group = gone.filter((server) => isStaying(server, wish) === stays);
    if (group.length === 0) continue;
    for (const { name, accepting } of group) if (accepting) draft.act({ do: "stop", colour, server: name });
    draft.act({ do: "drain", colour, servers: group.map((server) => server.name), stays });
    for (const { name } of group) draft.act({ do: "remove", colour, server: name, stays });
  }
}

/** Under another name the same program goes on. */
function isStaying(server: Server, wish: Wish | undefined): boolean {
  return wish?.servers.some((wished) => isSamePlace(wished, server)) ?? false;
}

function isWanted(server: Server, wish: Wish): boolean {
  return wish.servers.some((wished) => wished.name === server.name && isSamePlace(wished, server));
}

function hasName(wish: Wish, server: Server): boolean {
  return wish.servers.some((wished) => wished.name === server.name);
}

function isSamePlace(one: Server, other: Server): boolean {
  return one.address === other.address && one.port === other.port;
}

function listOwn(colour: Colour): FoundServer[] {
  return colour.servers.filter((server) => server.version !== undefined);
}

function colourOf(found: Found, name: string): Colour {
  return found.colours[0].name === name ? found.colours[0] : found.colours[1];
}

/** What would be served after a restart if the balancer kept exactly what it runs: those of others too. */
function describeNow(draft: Draft, wish: Wish): Saved {
  const { colours, live } = draft.now;
  return {
    owner: wish.owner,
    live: colours.find((colour) => colour.name === live)?.name ?? colours[0].name,
    settings: wish.settings,
    health: Object.fromEntries(colours.map((colour) => [colour.name, colour.health])),
    servers: Object.fromEntries(colours.map((colour) => [colour.name, colour.servers.map(toServer)])),
  };
}

/** The same at the end of the plan: connections that still go on do not last. */
function describeEnd(draft: Draft, target: string, wish: Wish): Saved {
  const servers = (colour: Colour): Server[] => [
    ...(colour.name === target ? wish.servers : []),
    ...colour.servers.filter((server) => server.version === undefined).map(toServer),
  ];
  return {
    ...describeNow(draft, wish),
    live: target,
    servers: Object.fromEntries(draft.now.colours.map((colour) => [colour.name, servers(colour)])),
  };
}

function toServer({ name, address, port }: Server): Server {
  return { name, address, port };
}

/** A plan as it grows: each action is done on a copy, so that the next one follows from what it leaves. */
class Draft {
  readonly actions: Action[] = [];

  constructor(public now: Found) {}

  act(action: Action): void {
    this.actions.push(action);
    this.now = applyAction(this.now, action);
  }

  save(saved: Saved): void {
    if (this.now.saved !== undefined && !isSameSaved(this.now.saved, saved)) this.act({ do: "save", saved });
  }
}

function isSameSaved(one: Saved | "altered", other: Saved): boolean {
  const describe = (saved: Saved): string =>
    JSON.stringify([
      saved.owner,
      saved.live,
      saved.settings,
      Object.entries(saved.health).sort(),
      Object.entries(saved.servers)
        .sort()
        .map(([colour, servers]) => [colour, servers.map((s) => [s.name, s.address, s.port].join()).sort()]),
    ]);
  return one !== "altered" && describe(one) === describe(other);
}
