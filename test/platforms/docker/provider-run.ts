/** The provider's own create and delete on a fake engine: runs of Pulumi without Pulumi. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { PassThrough } from "node:stream";
import { writeJournal, type JournalEntry } from "../../../src/core/journal";
import type { DockerDriver } from "../../../src/platforms/docker/driver";
import { platform } from "../../../src/platforms/docker/platform";
import { DockerSite } from "../../../src/platforms/docker/site";
import { createImage } from "../../../src/provider/create";
import { deleteImage } from "../../../src/provider/delete";
import { IncompleteError } from "../../../src/provider/incomplete";
import { recall } from "../../../src/provider/memory";
import type { Inputs, State } from "../../../src/provider/state";
import { FakeDockerDriver } from "./fake-driver";
import type { FakeWorld } from "./fake-world";

/** Where writing to the disk, which the journal insists on, costs nothing. */
const MEMORY_FOLDER = "/dev/shm";

/** A folder for all that the provider writes. */
export const home = fs.mkdtempSync(
  path.join(fs.existsSync(MEMORY_FOLDER) ? MEMORY_FOLDER : os.tmpdir(), "kiln-run-"),
);
const journalFolder = path.join(home, "state", "journal");
process.env["PULUMI_KILN_HOME"] = home;
process.env["TMPDIR"] = home;
// The provider takes the end of its input for the death of Pulumi's engine.
Object.defineProperty(process, "stdin", { value: new PassThrough() });
fs.mkdirSync(journalFolder, { recursive: true });
// Not a hook of the test runner, whose tracking of promises would slow thousands of histories.
process.on("exit", () => fs.rmSync(home, { recursive: true, force: true }));

/** What Pulumi keeps of one image. */
export interface Made {
  id: string;
  outs: State;
}

/** One image of one stack. */
export interface Resource {
  stack: string;
  name: string;
  lineage: string;
  /** A stage after each step; without, none. */
  isStaged?: boolean;
  /** Folders that are sent first, each enough for a layer of its own. */
  folder?: string[];
}

export function makeWorld(): FakeWorld {
  const { world } = new FakeDockerDriver();
  world.addImage("tiny:latest", { Cmd: ["/bin/sh"] });
  return world;
}

/** All that there is, in a form that can be compared. */
export function describeWorld(world: FakeWorld): unknown {
  return {
    images: [...world.images.values()].map(({ id, names }) => ({ id, names: [...names] })),
    containers: [...world.containers.values()].map(({ name }) => name),
  };
}

function urnOf({ stack, name }: Resource): string {
  return `urn:pulumi:${stack}::p::pulumi-nodejs:dynamic/kiln/docker:Image::${name}`;
}

/** What `check` makes of a program in which only the version changes: each has a tag of its own, and all share one. */
export function makeInputs(resource: Resource, version: string, keep = 1): Inputs {
  return {
    keep,
    image: "tiny",
    provisioners: [
      ...(resource.folder === undefined
        ? []
        : [{ type: "file", sources: resource.folder, destination: "/many/" }]),
      { type: "shell", inline: ["true"] },
      { type: "file", content: version, destination: "/srv/version" },
    ].map((unit) => ({ ...unit, ...(resource.isStaged ? { cache: true } : {}) })),
    cache: resource.isStaged ?? false,
    postProcessors: [
      { type: "docker-tag", repository: `${resource.stack}-${resource.name}`, tags: [version, "latest"] },
    ],
    fingerprint: `k1:${Buffer.from(version).toString("hex").padEnd(64, "0")}`,
    __kiln: {
      type: "docker:Image",
      stateVersion: 1,
      urn: urnOf(resource),
      from: "",
      project: "p",
      stack: resource.stack,
      secretOptions: [],
      retain: false,
      lineage: resource.lineage,
    },
  };
}

/** What a new process does not know. */
const FORGOTTEN = { superseded: undefined, current: undefined };

/** A run of the engine with this driver, in a process that remembers nothing; `version` is declared, unless the run destroys. */
export function startRun(
  driver: DockerDriver,
  resource: Resource,
  declared?: { version: string; moved: boolean; keep?: number },
): void {
  platform.connect = () => Promise.resolve(new DockerSite(driver, []));
  const tags = declared ? [declared.version, "latest"] : [];
  Object.assign(recall(urnOf(resource)), {
    checked: declared !== undefined,
    moved: declared?.moved ?? true,
    keep: declared && (declared.keep ?? 1),
    ...FORGOTTEN,
    // Of what the user wants made anew, Pulumi says nothing.
    hasState: declared?.moved,
    lineage: declared && resource.lineage,
    planned: tags.map((tag) => `docker-tag:${resource.stack}-${resource.name}:${tag}`),
  });
}

/** Undefined if it failed with nothing to keep. */
export async function create(
  driver: DockerDriver,
  resource: Resource,
  version: string,
  moved = true,
  keep = 1,
): Promise<Made | undefined> {
  startRun(driver, resource, { version, moved, keep });
  try {
    return await createImage(makeInputs(resource, version, keep));
  } catch (error) {
    return error instanceof IncompleteError ? { id: error.id, outs: error.properties } : undefined;
  }
}

export async function destroy(driver: DockerDriver, resource: Resource, made: Made): Promise<void> {
  startRun(driver, resource);
  await deleteImage(made.id, made.outs);
}

/** An old one goes, in the run that has just made the new one. */
export async function deleteReplaced(made: Made): Promise<void> {
  await deleteImage(made.id, made.outs);
}

export function readJournal(): JournalEntry[] {
  return fs
    .readdirSync(journalFolder)
    .filter((name) => name.endsWith(".json"))
    .map((name) => JSON.parse(fs.readFileSync(path.join(journalFolder, name), "utf8")) as JournalEntry);
}

/** As if the processes that made them had ended: what they were building, nobody waits for. */
export function endOwners(): void {
  const places = path.join(home, "cache", "stages");
  for (const place of fs.existsSync(places) ? fs.readdirSync(places) : [])
    fs.rmSync(path.join(places, place, "locks"), { recursive: true, force: true });
  for (const entry of readJournal()) writeJournal({ ...entry, owner: { ...entry.owner, startedAt: "" } });
}
