import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  applyAction,
  isSettled,
  planActions,
  planRemoval,
  type Action,
  type Colour,
  type Found,
  type FoundServer,
  type Wish,
} from "../../src/rollout/plan";
import { BLUE, GREEN, restart } from "./fake-balancer";

const RUNS = 3000;
const PLACES = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"];
const VERSIONS = ["v1", "v2"];
const HEALTH = ["h1", "h2"];

/** As a driver names them: by version and place. */
function makeServer(version: string, address: string): FoundServer {
  return { name: `${version}.${address}`, address, port: 80, version, accepting: true };
}

const ownServer = fc
  .record({
    version: fc.constantFrom(...VERSIONS),
    address: fc.constantFrom(...PLACES),
    accepting: fc.boolean(),
  })
  .map(({ version, address, accepting }) => ({ ...makeServer(version, address), accepting }));
const stranger = fc
  .constantFrom("9.9.9.1", "9.9.9.2")
  .map((address) => ({ ...makeServer("x", address), version: undefined }));
const servers = fc.uniqueArray(fc.oneof({ arbitrary: ownServer, weight: 5 }, stranger), {
  maxLength: 4,
  selector: (server) => server.name,
});
const wish: fc.Arbitrary<Wish> = fc
  .record({
    version: fc.constantFrom(...VERSIONS),
    health: fc.constantFrom(...HEALTH),
    settings: fc.constantFrom("s1", "s2"),
    places: fc.uniqueArray(fc.constantFrom(...PLACES), { minLength: 1, maxLength: 3 }),
  })
  .map(({ version, places, ...rest }) => ({
    ...rest,
    owner: "me/1",
    version,
    servers: places.map((address) => {
      const { name, port } = makeServer(version, address);
      return { name, address, port };
    }),
  }));
const found: fc.Arbitrary<Found> = fc
  .record({
    owner: fc.constantFrom(undefined, "me/0", "me/1"),
    live: fc.constantFrom(BLUE, GREEN, "elsewhere", undefined),
    blue: servers,
    green: servers,
    health: fc.tuple(fc.constantFrom(...HEALTH), fc.constantFrom(...HEALTH)),
    settings: fc.constantFrom("s1", "s2"),
    keeps: fc.constantFrom("nothing", "altered", "this", "empty"),
  })
  .map(({ owner, live, blue, green, health, settings, keeps }) => {
    const colours: Found["colours"] = [
      { name: BLUE, health: keeps === "nothing" ? "h1" : health[0], servers: blue },
      { name: GREEN, health: keeps === "nothing" ? "h1" : health[1], servers: green },
    ];
    const saved = {
      owner: owner ?? "", live: live === GREEN ? GREEN : BLUE, settings, health: { [BLUE]: health[0], [GREEN]: health[1] },
      servers: keeps === "this" ? { [BLUE]: blue, [GREEN]: green } : { [BLUE]: [], [GREEN]: [] },
    }; // prettier-ignore
    return {
      owner,
      live,
      colours,
      settings: keeps === "nothing" ? "s1" : settings,
      saved: keeps === "nothing" ? undefined : keeps === "altered" ? ("altered" as const) : saved,
    };
  });
/** A balancer that keeps no files has no settings that a reload could change. */
const both = fc
  .tuple(found, wish)
  .map(([state, want]): [Found, Wish] =>
    state.saved === undefined ? [state, { ...want, settings: "s1", health: "h1" }] : [state, want],
  );

const runAll = (state: Found, actions: readonly Action[]): Found => actions.reduce(applyAction, state);
const serving = (state: Found): FoundServer[] =>
  (state.colours.find((colour) => colour.name === state.live)?.servers ?? []).filter(
    (server) => server.accepting,
  );
const strangersOf = (state: Found): string[] =>
  state.colours.flatMap((colour) =>
    colour.servers
      .filter((server) => server.version === undefined)
      .map((server) => `${colour.name}/${server.name}`),
  );

test("from any state, and killed after any action, the next plan ends where it should", () => {
  fc.assert(
    fc.property(both, fc.nat(40), ([state, want], kill) => {
      const halfway = runAll(state, planActions(state, want).slice(0, kill));
      const end = runAll(halfway, planActions(halfway, want));
      assert.deepEqual(serving(end).filter((server) => server.version !== undefined).map((server) => server.name).sort(), want.servers.map((server) => server.name).sort()); // prettier-ignore
      assert.equal(end.owner, want.owner);
      assert.equal(end.settings, want.settings);
      assert.deepEqual(planActions(end, want), []);
      const idle = end.colours.find((colour) => colour.name !== end.live);
      assert.deepEqual(idle?.servers.filter((server) => server.version !== undefined), []); // prettier-ignore
      if (end.saved !== undefined) {
        // Started again, it serves the same.
        const again = restart(end);
        assert.deepEqual(serving(again), serving(end));
        assert.deepEqual(planActions(again, want), []);
      }
    }),
    { numRuns: RUNS },
  );
});

test("one wish after another, each killed somewhere, converges on the last", () => {
  fc.assert(
    fc.property(both, fc.array(fc.tuple(wish, fc.nat(20)), { maxLength: 5 }), ([state, want], others) => {
      let now = state;
      for (const [other, kill] of others) {
        const legal = now.saved === undefined ? { ...other, settings: "s1", health: "h1" } : other;
        now = runAll(now, planActions(now, legal).slice(0, kill));
      }
      now = runAll(now, planActions(now, want));
      assert.deepEqual(planActions(now, want), []);
    }),
    { numRuns: RUNS },
  );
});

test("there is no moment without a server that works where there was one, and new ones are waited for", () => {
  fc.assert(
    fc.property(both, fc.uniqueArray(fc.constantFrom(...PLACES)), ([state, want], sick) => {
      // What is added or enabled works only once it was waited for.
      const works = new Set(
        state.colours.flatMap((colour) =>
          colour.servers.filter((server) => server.accepting && !sick.includes(server.address)).map((server) => `${colour.name}/${server.name}`),
        ),
      ); // prettier-ignore
      const isServed = (now: Found): boolean =>
        serving(now).some((server) => works.has(`${now.live}/${server.name}`));
      let now = state;
      for (const action of planActions(state, want)) {
        const before = isServed(now);
        if (action.do === "await") {
          // The executor goes no further where one of them is sick.
          if (action.servers.some((name) => sick.some((address) => name.endsWith(address)))) break;
          for (const name of action.servers) works.add(`${action.colour}/${name}`);
        }
        if (action.do === "switch")
          assert.ok(want.servers.every((server) => works.has(`${action.colour}/${server.name}`)), "switched to what nobody waited for"); // prettier-ignore
        now = applyAction(now, action);
        if (before) assert.ok(isServed(now), `nobody serves after ${JSON.stringify(action)}`);
      }
    }),
    { numRuns: RUNS },
  );
});

test("nothing is removed undrained, while it is to be served from, or if it is somebody else's", () => {
  fc.assert(
    fc.property(both, ([state, want]) => {
      for (const actions of [planActions(state, want), planRemoval(state)]) {
        const drained = new Set<string>();
        let now: Found = state;
        for (const action of actions) {
          if (action.do === "drain")
            for (const name of action.servers) {
              const colour: Colour | undefined = now.colours.find((one) => one.name === action.colour);
              const server: FoundServer | undefined = colour?.servers.find((one) => one.name === name);
              assert.equal(server?.accepting, false, "drained while it takes new requests");
              drained.add(`${action.colour}/${name}`);
            }
          if (action.do === "enable" || action.do === "add") drained.clear();
          if (action.do === "remove") assert.ok(drained.has(`${action.colour}/${action.server}`));
          now = applyAction(now, action);
        }
        if (state.saved !== undefined) continue;
        assert.deepEqual(strangersOf(now), strangersOf(state));
      }
    }),
    { numRuns: RUNS },
  );
});

test("what is kept names the live colour's servers before the switch, and no others at the end", () => {
  fc.assert(
    fc.property(both, ([state, want]) => {
      let now = state;
      for (const action of planActions(state, want)) {
        if (action.do === "switch" && now.saved !== undefined) {
          assert.ok(now.saved !== "altered");
          const { servers, live } = now.saved;
          assert.equal(live, action.colour);
          const kept = (colour: string): string[] => (servers[colour] ?? []).map((server) => server.name);
          for (const server of want.servers) assert.ok(kept(action.colour).includes(server.name));
          for (const server of serving(now)) assert.ok(kept(now.live ?? "").includes(server.name));
        }
        now = applyAction(now, action);
      }
    }),
    { numRuns: RUNS },
  );
});

test("servers that stay are not touched: 2 → 3 → 2", () => {
  const wishOf = (...places: string[]): Wish => ({
    owner: "me/1", version: "v1", health: "", settings: "", servers: places.map((place) => { const { name, address, port } = makeServer("v1", place); return { name, address, port }; }),
  }); // prettier-ignore
  const empty: Found = {
    owner: undefined, live: BLUE, settings: "", saved: undefined,
    colours: [{ name: BLUE, health: "", servers: [] }, { name: GREEN, health: "", servers: [] }],
  }; // prettier-ignore
  const two = runAll(empty, planActions(empty, wishOf("10.0.0.1", "10.0.0.2")));
  const grow = planActions(two, wishOf("10.0.0.1", "10.0.0.2", "10.0.0.3"));
  assert.deepEqual(grow.map((action) => action.do), ["add", "await"]); // prettier-ignore
  const shrink = planActions(runAll(two, grow), wishOf("10.0.0.1", "10.0.0.2"));
  assert.deepEqual(shrink.map((action) => action.do), ["await", "stop", "drain", "remove"]); // prettier-ignore
});

test("connections to a server that stays do not make another update", () => {
  assert.equal(isSettled([{ do: "drain", colour: BLUE, servers: ["a"], stays: true }, { do: "remove", colour: BLUE, server: "a", stays: true }]), true); // prettier-ignore
  assert.equal(isSettled([{ do: "remove", colour: BLUE, server: "a", stays: false }]), false);
});
