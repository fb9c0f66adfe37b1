/** The provider's own create and delete on a fake QEMU: runs of Pulumi without Pulumi. Files, ledger and stages are real. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { PassThrough } from "node:stream";
import { writeJournal, type JournalEntry } from "../../../src/core/journal";
import type { QemuDriver } from "../../../src/platforms/qemu/driver";
import type { QemuImageOptions } from "../../../src/platforms/qemu/options";
import { platform } from "../../../src/platforms/qemu/platform";
import { QemuSite } from "../../../src/platforms/qemu/site";
import { StageStore } from "../../../src/platforms/qemu/stage-store";
import { createImage } from "../../../src/provider/create";
import { deleteImage } from "../../../src/provider/delete";
import { IncompleteError } from "../../../src/provider/incomplete";
import { recall } from "../../../src/provider/memory";
import type { Inputs, State } from "../../../src/provider/state";
import { writeSourceDisk } from "./fake-driver";
import { readChain } from "./fake-world";

/** Where writing to the disk, which journal and ledger insist on, costs nothing. */
const MEMORY_FOLDER = "/dev/shm";

const root = fs.mkdtempSync(
  path.join(fs.existsSync(MEMORY_FOLDER) ? MEMORY_FOLDER : os.tmpdir(), "kiln-run-"),
);
const home = path.join(root, "home");
const temporary = path.join(root, "tmp");
/** The program's folder. */
export const program = path.join(root, "program");
process.env["PULUMI_KILN_HOME"] = home;
process.env["TMPDIR"] = temporary;
// The provider takes the end of its input for the death of Pulumi's engine.
Object.defineProperty(process, "stdin", { value: new PassThrough() });
for (const folder of [home, temporary, program]) fs.mkdirSync(folder);
process.chdir(program);
process.on("exit", () => fs.rmSync(root, { recursive: true, force: true }));

/** What a program has beside its images: a disk to start from, and firmware. */
const BASE = "base";
const SOURCE = `${BASE}/source.qcow2`;
export const efi = { code: `${BASE}/code.fd`, variables: `${BASE}/variables.fd` };

/** What each try begins with: nothing but what a program has. */
export function resetFolders(): void {
  for (const folder of [home, temporary, program])
    for (const name of fs.readdirSync(folder)) fs.rmSync(path.join(folder, name), { recursive: true });
  fs.mkdirSync(BASE);
  writeSourceDisk(SOURCE, "debian");
  for (const file of Object.values(efi)) fs.writeFileSync(file, "firmware");
}

/** What Pulumi keeps of one image. */
export interface Made {
  id: string;
  outs: State;
}

/** One image of one stack; `version` is what its last step writes, and its fingerprint. */
export interface Resource {
  stack: string;
  name: string;
  lineage: string;
  options?: Partial<QemuImageOptions>;
}

/** How a run of the engine goes. */
export interface Run {
  driver: QemuDriver;
  /** Pulumi says that the old inputs were others; without, that a rebuild was asked for. Default: true. */
  moved?: boolean;
  keep?: number;
  /** What goes wrong on purpose is told here. */
  onError?: (error: unknown) => void;
}

function urnOf({ stack, name }: Resource): string {
  return `urn:pulumi:${stack}::p::pulumi-nodejs:dynamic/kiln/qemu:Image::${name}`;
}

export function fingerprintOf(version: string): string {
  return `k1:${Buffer.from(version).toString("hex").padEnd(64, "0")}`;
}

/** What `check` makes of a program in which only the version changes. */
export function makeInputs(resource: Resource, version: string, keep = 1): Inputs {
  return {
    keep,
    isoUrl: SOURCE,
    diskImage: true,
    sshUsername: "root",
    provisioners: [
      { type: "shell", inline: ["first"], cache: true },
      { type: "file", content: version, destination: "/srv/version", cache: true },
    ],
    ...resource.options,
    fingerprint: fingerprintOf(version),
    __kiln: {
      type: "qemu:Image",
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
const FORGOTTEN = { superseded: undefined, current: undefined, deleting: undefined, sources: undefined };

/** A run of the engine in a process that remembers nothing; without `declared` the run destroys. */
function startRun({ driver, moved = true, keep = 1 }: Run, resource: Resource, isDeclared: boolean): void {
  platform.connect = () => Promise.resolve(new QemuSite(driver));
  Object.assign(recall(urnOf(resource)), {
    checked: isDeclared,
    moved: isDeclared ? moved : true,
    keep: isDeclared ? keep : undefined,
    ...FORGOTTEN,
    // Of what the user wants made anew, Pulumi says nothing.
    hasState: isDeclared ? moved : undefined,
    lineage: isDeclared ? resource.lineage : undefined,
    planned: [],
  });
}

/** Undefined if it failed with nothing to keep. */
export async function create(run: Run, resource: Resource, version: string): Promise<Made | undefined> {
  startRun(run, resource, true);
  try {
    return await createImage(makeInputs(resource, version, run.keep));
  } catch (error) {
    if (error instanceof IncompleteError) return { id: error.id, outs: error.properties };
    run.onError?.(error);
    return undefined;
  }
}

/** The same where nothing is to go wrong; what is in the image is what its version says. */
export async function mustCreate(run: Run, resource: Resource, version: string): Promise<Made> {
  let failure: unknown;
  const made = await create({ ...run, onError: (error) => (failure = error) }, resource, version);
  if (!made) throw new Error(`creating ${resource.name} ${version}`, { cause: failure });
  const content = readChain(String(made.outs["path"]));
  const isRight = content.includes(`/srv/version: ${version}`) || resource.options?.adopt !== undefined;
  if (!isRight) throw new Error(`the image holds ${content.join()}`);
  return made;
}

export async function destroy(driver: QemuDriver, resource: Resource, made: Made): Promise<void> {
  startRun({ driver }, resource, false);
  await deleteImage(made.id, made.outs);
}

/** An old one goes, in the run that has just made the new one. */
export async function deleteReplaced(made: Made): Promise<void> {
  await deleteImage(made.id, made.outs);
}

export function readJournal(): JournalEntry[] {
  const folder = path.join(home, "state", "journal");
  return list(folder)
    .filter((name) => name.endsWith(".json"))
    .map((name) => JSON.parse(fs.readFileSync(path.join(folder, name), "utf8")) as JournalEntry);
}

/** As if the processes that made them had ended: what they were building, nobody waits for. */
export function endOwners(): void {
  const places = path.join(home, "cache", "stages");
  for (const place of list(places))
    fs.rmSync(path.join(places, place, "locks"), { recursive: true, force: true });
  for (const entry of readJournal()) writeJournal({ ...entry, owner: { ...entry.owner, startedAt: "" } });
  const store = new StageStore();
  for (const id of list(path.join(home, "cache", "qemu", "objects"))) {
    const record = store.read(id);
    if (record) store.write(id, { ...record, builder: { ...record.builder, startedAt: "" } });
  }
}

/** All that builds leave: images, folders, claims, stages, journal. Logs and what was measured are not counted. */
export function listLeft(): string[] {
  return [
    ...listImages(),
    ...listFiles(temporary),
    ...list(temporary),
    ...listFiles(path.join(home, "state", "journal")),
    ...listFiles(path.join(home, "state", "qemu")).filter((name) => name !== "id"),
    ...listFiles(path.join(home, "cache", "qemu")),
    ...list(path.join(home, "cache", "qemu", "objects")),
  ];
}

/** Names of the image files, and of whatever else lies there, relative to the program's folder. */
export function listImages(): string[] {
  return listFiles(program)
    .filter((name) => !name.startsWith(BASE))
    .sort();
}

/** What is kept of saved machines. */
export function listObjects(): string[] {
  return list(path.join(home, "cache", "qemu", "objects"));
}

function listFiles(folder: string): string[] {
  if (!fs.existsSync(folder)) return [];
  const names = fs.readdirSync(folder, { recursive: true }) as string[];
  return names.filter((name) => fs.statSync(path.join(folder, name)).isFile());
}

function list(folder: string): string[] {
  return fs.existsSync(folder) ? fs.readdirSync(folder) : [];
}
