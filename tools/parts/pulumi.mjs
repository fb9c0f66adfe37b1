/** The Pulumi engine with its host for Node programs: this machine's own, a download, or built from source. */
import {
  chmodSync,
  copyFileSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  realpathSync,
  renameSync,
  rmSync,
} from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { cachePath, say, step } from "./cache.mjs";
import { findProgram, isProgram, run } from "./command.mjs";
import { withGo } from "./go-build.mjs";

/** The release that is downloaded or built: the SDK's in package.json. */
export const pulumiVersion = "3.248.0";

const downloadSite = "https://get.pulumi.com";
const connectDeadlineMs = 5000;
const languageHost = "pulumi-language-nodejs";
const manual = "Or install Pulumi: https://www.pulumi.com/docs/install/";

/**
 * Finds a Pulumi that can run Node programs, or makes one.
 * @returns {Promise<string>} the full path of the program
 */
export async function findPulumi() {
  const installed = await findInstalled();
  if (installed) return installed;
  const folder = cachePath(`pulumi-${pulumiVersion}`);
  const program = join(folder, "pulumi");
  if (isProgram(program)) return program;
  if (await reachesDownloads()) await step(`Downloading Pulumi ${pulumiVersion}`, () => download(folder));
  else await step(`Building Pulumi ${pulumiVersion} from source (minutes, once)`, () => build(folder));
  return program;
}

async function findInstalled() {
  const wished = process.env.KILN_PULUMI;
  if (wished && !isProgram(wished)) say(`KILN_PULUMI is ${wished}, which is no program: looking elsewhere`);
  const program = wished && isProgram(wished) ? wished : findProgram("pulumi");
  if (!program) return undefined;
  const beside = [dirname(program), dirname(realpathSync(program))].join(delimiter);
  if (!findProgram(languageHost, `${beside}${delimiter}${process.env.PATH}`)) {
    say(
      `${program} has no ${languageHost} beside it or on PATH, so it cannot run Node programs: looking elsewhere`,
    );
    return undefined;
  }
  await run(program, ["version"]);
  return program;
}

/** @type {Promise<boolean> | undefined} */
let downloadsAnswer;

/** Whether Pulumi's download site answers within a few seconds; asked once. Its plugins come from there as well. */
export function reachesDownloads() {
  downloadsAnswer ??= fetch(downloadSite, {
    method: "HEAD",
    signal: AbortSignal.timeout(connectDeadlineMs),
  }).then(
    (response) => response.ok,
    (error) => {
      say(
        `${downloadSite} cannot be reached (${error.cause?.message ?? error.message}): going on without it`,
      );
      return false;
    },
  );
  return downloadsAnswer;
}

/** @param {string} folder */
async function download(folder) {
  const architecture = process.arch === "arm64" ? "arm64" : "x64";
  const url = `${downloadSite}/releases/sdk/pulumi-v${pulumiVersion}-${process.platform}-${architecture}.tar.gz`;
  const draft = `${folder}.draft`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true });
  const response = await fetch(url);
  if (!response.ok || !response.body) {
    throw new Error(`Downloading ${url}: the answer was ${response.status}. ${manual}`);
  }
  const archive = join(draft, "pulumi.tar.gz");
  await pipeline(Readable.fromWeb(response.body), createWriteStream(archive));
  await run("tar", ["-xzf", archive, "-C", draft]);
  const bin = [join(draft, "pulumi/bin"), join(draft, "pulumi")].find((path) =>
    existsSync(join(path, "pulumi")),
  );
  if (!bin) throw new Error(`Downloading ${url}: the archive holds no program pulumi. ${manual}`);
  renameSync(bin, folder);
  rmSync(draft, { recursive: true });
}

/** @param {string} folder */
async function build(folder) {
  const draft = `${folder}.draft`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true });
  await withGo(manual, async (go) => {
    // The SDK refuses an engine that does not know its own version.
    const version = `-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v${pulumiVersion}`;
    const engine = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi";
    await go("pulumi/engine", [
      "build",
      "-trimpath",
      "-ldflags",
      `-s -w ${version}`,
      "-o",
      join(draft, "pulumi"),
      engine,
    ]);
    // The engine's own sources no longer hold the host for Node programs; the last SDK that did runs them well.
    const host = "github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs";
    await go("pulumi/language-host", [
      "build",
      "-trimpath",
      "-ldflags",
      "-s -w",
      "-o",
      join(draft, languageHost),
      host,
    ]);
    const sdk = await go("pulumi/engine", [
      "list",
      "-m",
      "-f",
      "{{.Dir}}",
      "github.com/pulumi/pulumi/sdk/v3",
    ]);
    const dynamic = "pulumi-resource-pulumi-nodejs";
    copyFileSync(join(sdk.trim(), "nodejs/dist", dynamic), join(draft, dynamic));
    chmodSync(join(draft, dynamic), 0o755);
  });
  renameSync(draft, folder);
}
