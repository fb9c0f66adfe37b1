/** The stage cache: what it costs a cold build, what it saves a later one, and what of a second version is pushed. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parseReference } from "../src/platforms/docker/reference";
import type { CacheRun } from "./cache-run";
import { median, timeProcess, type BenchRow } from "./measure";

const ROUNDS = 3;
const STEPS = 10;
const STEP_SECONDS = 2;
const SECOND_MS = 1000;

export async function measureCache(): Promise<BenchRow[]> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-bench-cache-"));
  try {
    return [...(await measureSteps(folder)), await measurePush(folder)];
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function measureSteps(folder: string): Promise<BenchRow[]> {
  const times = { off: [] as number[], on: [] as number[], last: [] as number[], tag: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    const cold = {
      image: image("KILN_TINY_IMAGE"),
      keep: 0,
      triggers: { round: randomBytes(8).toString("hex") },
    };
    const edited = { ...cold, provisioners: makeSteps("edited") };
    const tagged = { ...edited, postProcessors: [{ type: "docker-tag", repository: "kiln-bench-cache" }] };
    const without = { ...cold, provisioners: makeSteps("off"), cache: false };
    const [off, on, last, tag] = await runPrograms(folder, [
      without,
      { ...cold, provisioners: makeSteps("") },
      edited,
      tagged,
    ]);
    if (!off || !on || !last || !tag?.isUpdate) throw new Error("a new tag alone made the image anew");
    times.off.push(off.milliseconds);
    times.on.push(on.milliseconds);
    times.last.push(last.milliseconds);
    times.tag.push(tag.milliseconds);
  }
  const [off, on, last, tag] = [times.off, times.on, times.last, times.tag].map(median) as [
    number,
    number,
    number,
    number,
  ];
  const what = `${STEPS} steps of ${STEP_SECONDS} s`;
  return [
    {
      what: `change the last of ${what}, beside cold`,
      ours: last,
      beside: on,
      figure: last / on,
      goal: 0.15,
    },
    {
      what: "nothing changed but the tag, beside 1 s",
      ours: tag,
      beside: SECOND_MS,
      figure: tag / SECOND_MS,
      goal: 1,
    },
    { what: `${what} cold, cache on beside off`, ours: on, beside: off, figure: on / off, goal: 1.15 },
  ];
}

function makeSteps(last: string): unknown[] {
  return Array.from({ length: STEPS }, (_, index) => ({
    type: "shell",
    inline: [`sleep ${STEP_SECONDS}; echo ${index} ${index === STEPS - 1 ? last : ""} > /step-${index}`],
  }));
}

/** A step as from a package manager, and a program of which one line changes. */
async function measurePush(folder: string): Promise<BenchRow> {
  const repository = `${image("KILN_REGISTRY")}/bench/cache`;
  const declare = (version: string): Record<string, unknown> => ({
    image: image("KILN_BASE_IMAGE"),
    keep: 0,
    triggers: { run: repository },
    provisioners: [
      { type: "shell", inline: ["sleep 2; head -c 20000000 /dev/urandom > /packages"] },
      { type: "file", content: `print("hello")\nprint("${version}")\n`, destination: "/app/main.py" },
    ],
    postProcessors: [{ type: "docker-tag", repository, tags: [version] }, { type: "docker-push" }],
  });
  const [first, second] = await runPrograms(folder, [declare("one"), declare("two")]);
  const before = await listBlobs(first?.pinned ?? "");
  const after = await listBlobs(second?.pinned ?? "");
  const bytes = sum(before.values());
  const more = sum([...after].filter(([digest]) => !before.has(digest)).map(([, size]) => size));
  return {
    what: "second version pushed after a one-line change, KB beside the first's",
    ours: more / 1000,
    beside: bytes / 1000,
    figure: more / bytes,
    goal: 0.02,
  };
}

/** What a push of an image sends, by digest: a registry takes nothing twice. */
async function listBlobs(pinned: string): Promise<Map<string, number>> {
  const { domain, path: name, digest = "" } = parseReference(pinned);
  const answer = await fetch(`http://${domain}/v2/${name}/manifests/${digest}`, {
    headers: { Accept: "application/vnd.docker.distribution.manifest.v2+json" },
  });
  if (!answer.ok) throw new Error(`Reading the manifest of ${pinned}: HTTP ${answer.status}`);
  const { config, layers } = (await answer.json()) as Record<"config", Blob> & Record<"layers", Blob[]>;
  return new Map([config, ...layers].map((blob) => [blob.digest, blob.size]));
}

interface Blob {
  digest: string;
  size: number;
}

function sum(values: Iterable<number>): number {
  return [...values].reduce((total, value) => total + value, 0);
}

/** Builds one image after the other in one process; its home is `.kiln` in the folder. */
export async function runPrograms(folder: string, programs: unknown[]): Promise<CacheRun[]> {
  fs.writeFileSync(path.join(folder, "programs.json"), JSON.stringify(programs));
  const { output } = await timeProcess(
    [process.execPath, path.join(__dirname, "cache-run.js"), "programs.json"],
    folder,
    { PULUMI_KILN_HOME: path.join(folder, ".kiln") },
  );
  return JSON.parse(output) as CacheRun[];
}

function image(variable: string): string {
  const name = process.env[variable];
  if (!name) throw new Error(`${variable} is not set: run the benchmarks by \`npm run bench\``);
  return name;
}
