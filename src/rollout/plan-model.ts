/** What the rules of blue/green speak of: balancers, wishes, actions, and what an action does. Pure, as the rules are. */

/** Where a program listens. The name is unique in its colour, and differs if anything about the server does. */
export interface Server {
  name: string;
  address: string;
  port: number;
}

/** A server as the balancer has it. */
export interface FoundServer extends Server {
  /** The version that it runs; undefined if this switch did not add it. */
  version: string | undefined;
  /** False if it was told to take no new requests. */
  accepting: boolean;
}

/** One of the two sets of servers. All new requests go to one of them. */
export interface Colour {
  name: string;
  /** How its servers are checked, where that belongs to the colour; else "". */
  health: string;
  servers: readonly FoundServer[];
}

/** What the balancer serves by itself after a restart. */
export interface Saved {
  owner: string;
  live: string;
  settings: string;
  health: { readonly [colour: string]: string };
  servers: { readonly [colour: string]: readonly Server[] };
}

/** What a balancer is like. */
export interface Found {
  /** The resource whose servers these are. */
  owner: string | undefined;
  /** Where new requests go: a colour, or something that is none. */
  live: string | undefined;
  colours: readonly [Colour, Colour];
  /** Its other settings as it runs with them; "" where they are not ours. */
  settings: string;
  /** Undefined where it keeps nothing, "altered" where what it keeps is not what we wrote. */
  saved: Saved | "altered" | undefined;
}

/** What a balancer should be like. */
export interface Wish {
  owner: string;
  version: string;
  health: string;
  settings: string;
  servers: readonly Server[];
}

/** `stays`: the server itself lives on, so its connections are never cut; they may even keep it from being removed. */
export type Action =
  | { do: "claim"; owner: string }
  | { do: "add"; colour: string; server: Server; version: string }
  | { do: "enable"; colour: string; server: string }
  | { do: "await"; colour: string; servers: readonly string[] }
  | { do: "switch"; colour: string }
  | { do: "stop"; colour: string; server: string }
  | { do: "drain"; colour: string; servers: readonly string[]; stays: boolean }
  | { do: "remove"; colour: string; server: string; stays: boolean }
  | { do: "save"; saved: Saved }
  | { do: "reload" };

/** What the balancer is like after an action. */
export function applyAction(found: Found, action: Action): Found {
  const edit = (name: string, change: (servers: readonly FoundServer[]) => readonly FoundServer[]): Found => {
    const one = (colour: Colour): Colour =>
      colour.name === name ? { ...colour, servers: change(colour.servers) } : colour;
    return { ...found, colours: [one(found.colours[0]), one(found.colours[1])] };
  };
  const accept = (name: string, accepting: boolean) => (servers: readonly FoundServer[]) =>
    servers.map((server) => (server.name === name ? { ...server, accepting } : server));
  switch (action.do) {
    case "claim":
      return { ...found, owner: action.owner };
    case "add": {
      const { server, version } = action;
      return edit(action.colour, (servers) => [...servers, { ...server, version, accepting: true }]);
    }
    case "enable":
      return edit(action.colour, accept(action.server, true));
    case "stop":
      return edit(action.colour, accept(action.server, false));
    case "remove":
      return edit(action.colour, (servers) => servers.filter((server) => server.name !== action.server));
    case "switch":
      return { ...found, live: action.colour };
    case "save":
      return { ...found, saved: action.saved };
    case "reload":
      return reload(found);
    case "await":
    case "drain":
      return found;
  }
}

/** It starts anew from what is kept: what had been stopped takes requests again. */
function reload(found: Found): Found {
  const { saved } = found;
  if (saved === undefined || saved === "altered") return found;
  const one = (colour: Colour): Colour => ({
    name: colour.name,
    health: saved.health[colour.name] ?? colour.health,
    servers: colour.servers
      .filter((server) => saved.servers[colour.name]?.some((kept) => kept.name === server.name))
      .map((server) => ({ ...server, accepting: true })),
  });
  return {
    ...found,
    live: saved.live,
    settings: saved.settings,
    colours: [one(found.colours[0]), one(found.colours[1])],
  };
}
