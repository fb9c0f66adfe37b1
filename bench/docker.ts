/** Building and uploading beside Packer's docker builder, on the same engine and source image. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { makeStack } from "./stack";
import type { Created } from "./create-step";
import { interleave, median, timeProcess, type BenchRow } from "./measure";

const FIVE_STEPS = [
  "echo one > /one",
  "echo two > /two",
  "echo three > /three",
  "echo four > /four",
  "echo five > /five",
];

export async function measureDocker(): Promise<BenchRow[]> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-bench-docker-"));
  try {
    makeSources(folder);
    const rows: BenchRow[] = [];
    for (const measure of [
      measureBuild,
      (made: Made) => measureUpload(made, "many/", "5,000 files of 2 KB"),
      (made: Made) => measureUpload(made, "large.bin", "one file of 300 MB"),
    ]) {
      const made = new Made(folder);
      try {
        rows.push(...(await measure(made)));
      } finally {
        await made.remove();
      }
    }
    return rows;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * What a row has made, removed at its end: for minutes after many files were deleted, some file systems are slow to make new
 * ones, whoever makes them.
 */
class Made {
  private readonly created: Created["made"][] = [];
  private readonly packed: string[] = [];

  constructor(readonly folder: string) {}

  /** Another trigger each time: an image that exists would be found instead of built. */
  async create(provisioners: unknown[]): Promise<Created> {
    fs.writeFileSync(path.join(this.folder, "args.json"), JSON.stringify(makeArgs(provisioners)));
    const created = JSON.parse(await this.runStep("args.json")) as Created;
    this.created.push(created.made);
    return created;
  }

  async buildWithPacker(provisioners: unknown[]): Promise<number> {
    const template = {
      builders: [{ type: "docker", image: image(), pull: false, commit: true }],
      provisioners,
    };
    fs.writeFileSync(path.join(this.folder, "packer.json"), JSON.stringify(template));
    const { milliseconds, output } = await timeProcess(
      ["packer", "build", "-color=false", "packer.json"],
      this.folder,
      { PACKER_NO_COLOR: "1", CHECKPOINT_DISABLE: "1" },
    );
    const id = /sha256:[0-9a-f]{64}\s*$/.exec(output.trim())?.[0].trim();
    if (!id) throw new Error(`packer made no image:\n${output.slice(-1000)}`);
    this.packed.push(id);
    return milliseconds;
  }

  async remove(): Promise<void> {
    fs.writeFileSync(path.join(this.folder, "made.json"), JSON.stringify(this.created));
    await this.runStep("delete", "made.json");
    if (this.packed.length > 0) await timeProcess(["docker", "rmi", ...this.packed], this.folder);
  }

  private async runStep(...args: string[]): Promise<string> {
    const script = path.join(__dirname, "create-step.js");
    const environment = { PULUMI_KILN_HOME: path.join(this.folder, ".kiln") };
    return (await timeProcess([process.execPath, script, ...args], this.folder, environment)).output;
  }
}

function makeArgs(provisioners: unknown[]): unknown {
  return { image: image(), provisioners, triggers: { run: randomBytes(8).toString("hex") } };
}

async function measureBuild(made: Made): Promise<BenchRow[]> {
  const provisioners = FIVE_STEPS.map((line) => ({ type: "shell", inline: [line] }));
  const packer = FIVE_STEPS.map((line) => ({ type: "shell", inline: [line] }));
  const up = await prepareUp(made.folder, provisioners);
  const times = await interleave({
    ours: () => made.create(provisioners).then((run) => run.milliseconds),
    packer: () => made.buildWithPacker(packer),
    up,
  });
  return [
    {
      what: "build: 5 shell steps and commit, create step beside `packer build`",
      ours: times.ours,
      beside: times.packer,
      figure: times.ours / times.packer,
      goal: 1 / 3.5,
    },
    {
      what: "the same, whole `pulumi up --skip-preview` (no goal)",
      ours: times.up,
      beside: times.packer,
      figure: times.up / times.packer,
      goal: Infinity,
    },
  ];
}

async function measureUpload(made: Made, source: string, what: string): Promise<BenchRow[]> {
  const destination = source.endsWith("/") ? "/data/" : "/large.bin";
  const peaks: number[] = [];
  const times = await interleave({
    async ours() {
      const run = await made.create([{ type: "file", source, destination }]);
      peaks.push(run.peakMegabytes);
      return run.milliseconds;
    },
    // Packer wants the folder to be there.
    packer: () =>
      made.buildWithPacker([
        ...(source.endsWith("/") ? [{ type: "shell", inline: ["mkdir -p /data"] }] : []),
        { type: "file", source, destination },
      ]),
  });
  return [
    {
      what: `upload: ${what}, then commit, beside Packer`,
      ours: times.ours,
      beside: times.packer,
      figure: times.ours / times.packer,
      goal: 1 / 2.5,
    },
    {
      what: `peak memory of the provider meanwhile, MB beside 200`,
      ours: median(peaks),
      beside: 200,
      figure: median(peaks) / 200,
      goal: 1,
    },
  ];
}

function image(): string {
  const name = process.env["KILN_TINY_IMAGE"];
  if (!name) throw new Error("KILN_TINY_IMAGE is not set: run the benchmarks by `npm run bench`");
  return name;
}

/** A stack with the same image, rebuilt by each `up`. */
async function prepareUp(folder: string, provisioners: unknown[]): Promise<() => Promise<number>> {
  const program = `const kiln = require("pulumi-kiln");
new kiln.docker.Image("app", JSON.parse(require("fs").readFileSync("args.json", "utf8")));
`;
  const { folder: stack, pulumi } = await makeStack(folder, "stack", program);
  return async () => {
    fs.writeFileSync(path.join(stack, "args.json"), JSON.stringify(makeArgs(provisioners)));
    const { milliseconds } = await pulumi("up", "--yes", "--skip-preview");
    await pulumi("destroy", "--yes", "--skip-preview");
    return milliseconds;
  };
}

function makeSources(folder: string): void {
  fs.mkdirSync(path.join(folder, "many"));
  for (let index = 0; index < 5000; index++) {
    const sub = path.join(folder, "many", String(index % 50));
    fs.mkdirSync(sub, { recursive: true });
    fs.writeFileSync(path.join(sub, `${index}.bin`), randomBytes(2048));
  }
  const large = fs.openSync(path.join(folder, "large.bin"), "w");
  for (let megabyte = 0; megabyte < 300; megabyte++) fs.writeSync(large, randomBytes(1024 * 1024));
  fs.closeSync(large);
}
