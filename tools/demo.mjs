/**
 * `npm run demo`: from a fresh clone to a container that runs from an image built by `pulumi up`.
 * Run again, it changes nothing and says so. It keeps to a Pulumi state of its own, in the cache.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { cachePath, say } from "./parts/cache.mjs";
import { run, runForExitCode } from "./parts/command.mjs";
import {
  ensureBuild,
  ensureExamplePackages,
  ensureNodePackages,
  repositoryFolder,
} from "./parts/node-packages.mjs";
import { describeMissing, formatExports, lastingParts, setUp } from "./setup.mjs";

const stack = "demo";
const exampleFolder = join(repositoryFolder, "examples/python-app");
const answerDeadlineMs = 30_000;

async function runDemo() {
  await ensureNodePackages();
  await ensureBuild();
  const { environment, missing } = await setUp({
    needs: lastingParts.filter((part) => part !== "tiny-image"),
  });
  if (missing.length > 0)
    throw new Error(`Setting up the demo: something is missing.\n${describeMissing(missing)}`);
  await ensureExamplePackages(exampleFolder);
  await configureStack(environment);
  say("pulumi up");
  // What became of the container since the last run, e.g. at a restart of the machine, is not in the state.
  const up = ["up", "--yes", "--refresh", "--stack", stack];
  const exitCode = await runForExitCode(pulumiOf(environment), up, {
    cwd: repositoryFolder,
    env: environment,
  });
  if (exitCode !== 0) {
    const environmentFile = writeEnvironmentFile(environment);
    throw new Error(
      `Running the example: pulumi up ended with exit code ${exitCode}; its messages are above. ` +
        `To try again by hand: . ${environmentFile} && pulumi up`,
    );
  }
  await showResult(environment);
}

/** @param {NodeJS.ProcessEnv} environment */
async function configureStack(environment) {
  await pulumi(environment, ["stack", "select", "--create", stack]);
  const present = JSON.parse(await pulumi(environment, ["config", "--json", "--stack", stack]));
  const isSet = (/** @type {string} */ name) => Object.keys(present).some((key) => key.endsWith(`:${name}`));
  // What a person set stays: trying another version is what the demo is for.
  if (!isSet("version")) await setConfig(environment, "version", "1.0.0");
  if (!isSet("baseImage")) await setConfig(environment, "baseImage", environment.KILN_BASE_IMAGE ?? "");
  /** @type {string[]} */
  const volumes = JSON.parse(environment.KILN_BUILD_VOLUMES ?? "[]");
  if (isSet("buildVolumes")) return;
  for (const [index, volume] of volumes.entries())
    await setConfig(environment, `buildVolumes[${index}]`, volume);
}

/**
 * @param {NodeJS.ProcessEnv} environment
 * @param {string} path
 * @param {string} value
 */
function setConfig(environment, path, value) {
  return pulumi(environment, ["config", "set", "--stack", stack, "--path", path, value]);
}

/** @param {NodeJS.ProcessEnv} environment */
async function showResult(environment) {
  const outputs = JSON.parse(await pulumi(environment, ["stack", "output", "--json", "--stack", stack]));
  const answer = await askApplication(outputs.url);
  const environmentFile = writeEnvironmentFile(environment);
  process.stdout.write(`
The application runs: ${outputs.url}
It answers:           ${answer.trim()}

What to try next, in ${repositoryFolder}, after this line in your shell:
  . ${environmentFile}

  pulumi preview --diff   after a change in examples/python-app/app: names the file, builds nothing
  pulumi up               builds the new image, replaces the container, keeps the old image for going back
  pulumi destroy          removes the container and all images
`);
}

/**
 * The first answer of the application, which may still be starting.
 * @param {string} url
 */
async function askApplication(url) {
  const deadlineMs = Date.now() + answerDeadlineMs;
  for (;;) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(answerDeadlineMs) });
      return await response.text();
    } catch (cause) {
      if (Date.now() > deadlineMs) {
        throw new Error(`Asking the application at ${url}: no answer in ${answerDeadlineMs / 1000} s`, {
          cause,
        });
      }
      await wait(200);
    }
  }
}

/**
 * Writes what a shell needs to go on with the demo's stack.
 * @param {NodeJS.ProcessEnv} environment
 */
function writeEnvironmentFile(environment) {
  const path = cachePath("env.sh");
  writeFileSync(path, formatExports(environment));
  return path;
}

/** @param {NodeJS.ProcessEnv} environment */
const pulumiOf = (environment) => environment.KILN_PULUMI ?? "pulumi";

/**
 * @param {NodeJS.ProcessEnv} environment
 * @param {readonly string[]} args
 */
function pulumi(environment, args) {
  return run(pulumiOf(environment), [...args, "--non-interactive"], {
    cwd: repositoryFolder,
    env: environment,
  });
}

try {
  await runDemo();
} catch (error) {
  say(/** @type {Error} */ (error).message);
  process.exitCode = 1;
}
