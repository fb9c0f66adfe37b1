/** A Pulumi stack of its own for one test: a folder with a program, a local backend, the real engine. */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { TestContext } from "node:test";

const REPOSITORY = path.resolve(__dirname, "..", "..", "..");

/** Options of the images and containers that the program declares; it reads them from a file, so that a test can change them. */
export interface Program {
  images: Record<string, Record<string, unknown>>;
  /** Name of the container → name of the image it runs, and more arguments. */
  containers?: Record<string, { image: string; [argument: string]: unknown }>;
  /** Resource options of all images. */
  options?: Record<string, unknown>;
}

export interface Result {
  code: number;
  /** Standard output and error. */
  text: string;
}

/** Declares what `program.json` says. `{ "secret": "…" }` anywhere becomes a Pulumi secret. */
const SOURCE = `
const fs = require("fs");
const pulumi = require("@pulumi/pulumi");
const kiln = require("pulumi-kiln");
const revive = (value) =>
  Array.isArray(value) ? value.map(revive)
  : value && typeof value === "object"
    ? typeof value.secret === "string" ? pulumi.secret(value.secret)
    : Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item)]))
  : value;
const program = JSON.parse(fs.readFileSync("program.json", "utf8"));
const images = {};
for (const [name, args] of Object.entries(program.images)) {
  images[name] = new kiln.docker.Image(name, revive(args), program.options);
  for (const output of ["imageId", "reference", "digest", "pinnedReference", "sizeBytes", "buildId"]) {
    exports[name + "-" + output] = images[name][output];
  }
}
for (const [name, { image, ...args }] of Object.entries(program.containers ?? {})) {
  const docker = require("@pulumi/docker");
  const made = new docker.Container(name, { image: images[image].imageId, ...args }, { deleteBeforeReplace: false });
  exports[name + "-container"] = made.id;
}
`;

export class Stack {
  readonly folder: string;
  readonly home: string;
  private readonly backend: string;
  private readonly environment: NodeJS.ProcessEnv;

  constructor(
    readonly project: string,
    program: Program,
    places: { folder?: string; home?: string; backend?: string } = {},
  ) {
    this.folder = places.folder ?? fs.mkdtempSync(path.join(os.tmpdir(), "kiln-stack-"));
    this.home = places.home ?? fs.mkdtempSync(path.join(os.tmpdir(), "kiln-home-"));
    this.backend = places.backend ?? path.join(this.folder, ".backend");
    fs.mkdirSync(this.backend, { recursive: true });
    this.environment = {
      ...process.env,
      PULUMI_BACKEND_URL: `file://${this.backend}`,
      PULUMI_CONFIG_PASSPHRASE: "",
      PULUMI_SKIP_UPDATE_CHECK: "true",
      PULUMI_KILN_HOME: this.home,
      CI: "true",
    };
    this.write(
      "Pulumi.yaml",
      `name: ${project}\nruntime:\n  name: nodejs\n  options: { typescript: false }\n`,
    );
    this.write("package.json", JSON.stringify({ name: project, main: "index.js" }));
    this.write("index.js", SOURCE);
    this.link("pulumi-kiln", REPOSITORY);
    this.link("@pulumi/pulumi", path.join(REPOSITORY, "node_modules/@pulumi/pulumi"));
    this.link("@pulumi/docker", path.join(REPOSITORY, "node_modules/@pulumi/docker"));
    this.declare(program);
  }

  declare(program: Program): void {
    this.write("program.json", JSON.stringify(program));
  }

  write(file: string, content: string | Buffer): void {
    const target = path.join(this.folder, file);
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.writeFileSync(target, content);
  }

  /** Starts `pulumi` in its own process group; `done` resolves at its end. */
  start(
    args: string[],
    environment: NodeJS.ProcessEnv = {},
  ): { pid: number; done: Promise<Result>; text: () => string } {
    const child = spawn(
      process.env["KILN_PULUMI"] ?? "pulumi",
      [...args, "--stack", "test", "--non-interactive"],
      {
        cwd: this.folder,
        env: { ...this.environment, ...environment },
        stdio: ["ignore", "pipe", "pipe"],
        detached: true,
      },
    );
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
    const done = new Promise<Result>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code) => resolve({ code: code ?? -1, text }));
    });
    return { pid: child.pid ?? 0, done, text: () => text };
  }

  async run(args: string[], environment: NodeJS.ProcessEnv = {}): Promise<Result> {
    return this.start(args, environment).done;
  }

  async mustRun(args: string[], environment: NodeJS.ProcessEnv = {}): Promise<Result> {
    const result = await this.run(args, environment);
    if (result.code !== 0)
      throw new Error(`pulumi ${args.join(" ")} ended with ${result.code}:\n${result.text}`);
    return result;
  }

  up(...more: string[]): Promise<Result> {
    return this.mustRun(["up", "--yes", "--skip-preview", ...more]);
  }

  /** An `up` that is expected to fail. */
  async failingUp(...more: string[]): Promise<string> {
    const { code, text } = await this.run(["up", "--yes", "--skip-preview", ...more]);
    if (code === 0) throw new Error(`this up should have failed:\n${text}`);
    return text;
  }

  async preview(...more: string[]): Promise<string> {
    return (await this.mustRun(["preview", "--diff", ...more])).text;
  }

  async outputs(): Promise<Record<string, unknown>> {
    const { text } = await this.mustRun(["stack", "output", "--json", "--show-secrets"]);
    return JSON.parse(text) as Record<string, unknown>;
  }

  /** The state as text, secrets encrypted. */
  async state(): Promise<string> {
    return (await this.mustRun(["stack", "export"])).text;
  }

  destroy(...more: string[]): Promise<Result> {
    return this.mustRun(["destroy", "--yes", "--skip-preview", ...more]);
  }

  /** After the engine was killed: its lock goes; a state that it had begun to write is the one before. */
  async recover(): Promise<void> {
    const file = path.join(this.backend, ".pulumi", "stacks", this.project, "test.json");
    if (!isJson(file)) fs.copyFileSync(`${file}.bak`, file);
    // Written first, and not at once: half of it is an "EOF" for each later command, and without it all is well.
    if (!isJson(`${file}.attrs`)) fs.rmSync(`${file}.attrs`, { force: true });
    await this.mustRun(["cancel", "--yes"]);
  }

  private link(name: string, target: string): void {
    const link = path.join(this.folder, "node_modules", name);
    fs.mkdirSync(path.dirname(link), { recursive: true });
    if (!fs.existsSync(link)) fs.symlinkSync(target, link);
  }
}

function isJson(file: string): boolean {
  try {
    JSON.parse(fs.readFileSync(file, "utf8"));
    return true;
  } catch {
    return false;
  }
}

/** A stack that is destroyed, and its folders removed, when the test ends. */
export async function createStack(
  test: TestContext,
  project: string,
  program: Program,
  places: { folder?: string; home?: string; backend?: string } = {},
): Promise<Stack> {
  const stack = new Stack(project, program, places);
  await stack.mustRun(["stack", "init"]);
  test.after(async () => {
    await stack.recover();
    await stack.run(["destroy", "--yes", "--skip-preview"]);
    fs.rmSync(stack.folder, { recursive: true, force: true });
    fs.rmSync(stack.home, { recursive: true, force: true });
  });
  return stack;
}
