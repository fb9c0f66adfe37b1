/** How a test brings a build to its death at a chosen moment, and what it finds afterwards. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { JournalEntry } from "../../src/core/journal";
import { never, openEngine } from "./docker";

/** What the engine tells about one thing that happened: `container commit`, `image tag`. */
export interface EngineEvent {
  type: string;
  action: string;
  /** Name of the container or image. */
  name: string;
  /** Its labels, and more. */
  attributes: Record<string, string>;
}

/** Builds that have not cleaned up behind themselves, by what they wrote down. */
/** Entries of builds; those of updates name no machine. */
export function listJournal(home: string): (JournalEntry & { machine: string })[] {
  const folder = path.join(home, "state", "journal");
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .map(
      (name) =>
        JSON.parse(fs.readFileSync(path.join(folder, name), "utf8")) as JournalEntry & { machine: string },
    );
}

/** Images, dangling ones too, that carry the label which the test gave to all of its own. */
export async function countImages(project: string): Promise<number> {
  const { body } = await (
    await openEngine()
  ).request<unknown[]>({
    method: "GET",
    path: "/images/json",
    query: { filters: { label: [`kiln-test=${project}`] } },
    signal: never,
  });
  return body.length;
}

/** Images without a name that nothing was made from. */
export async function listNameless(): Promise<string[]> {
  const { body } = await (
    await openEngine()
  ).request<{ Id: string }[]>({
    method: "GET",
    path: "/images/json",
    query: { filters: { dangling: ["true"] } },
    signal: never,
  });
  return body.map(({ Id }) => Id).sort();
}

/** Calls back for everything that happens on the engine, as it happens, until the returned function is called. */
export async function followEvents(onEvent: (event: EngineEvent) => void): Promise<() => Promise<void>> {
  const engine = await openEngine();
  const stopped = new AbortController();
  const following = engine.followProgress(
    { method: "GET", path: "/events", signal: stopped.signal },
    (message) => {
      const { Type, Action, Actor } = message as {
        Type: string;
        Action: string;
        Actor: { Attributes: Record<string, string> };
      };
      const attributes = Actor.Attributes;
      onEvent({ type: Type, action: Action, name: attributes["name"] ?? "", attributes });
    },
  );
  return async () => {
    stopped.abort();
    await following.catch((error: unknown) => {
      if (!stopped.signal.aborted) throw error;
    });
  };
}
