/**
 * `npm test [-- unit] [part of a file name …]`: sets up what is missing, compiles, and runs the tests.
 * `unit` leaves out all that needs real parts. With CI=true it lints first, and a missing part is an error.
 */
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { say } from "./parts/cache.mjs";
import { runForExitCode } from "./parts/command.mjs";
import { compileTests, ensureBuild, ensureNodePackages, repositoryFolder } from "./parts/node-packages.mjs";
import { describeMissing, lastingParts, qemuParts, setUp, testPrograms } from "./setup.mjs";

const testFolder = join(repositoryFolder, "test");
const inCi = process.env.CI === "true";

/** @param {readonly string[]} args */
async function runTests(args) {
  const files = findTests(args.filter((arg) => arg !== "unit"));
  await ensureNodePackages();
  const [lintCode] = await Promise.all([
    inCi ? runForExitCode("npm", ["run", "lint"], { cwd: repositoryFolder }) : 0,
    ensureBuild().then(compileTests),
  ]);
  if (lintCode !== 0) return 1;
  // Without the variables of the parts, tests of both a fake and the real thing keep to the fake, in CI as well.
  if (args.includes("unit")) return runFiles(files.ordinary, { ...withoutParts(), CI: undefined });
  // Minutes and a gigabyte, the first time: not for somebody who tries something else.
  const ofQemu = [...files.ordinary, ...files.live].some((name) => name.includes("qemu")) ? qemuParts : [];
  const { environment, missing, stop } = await setUp({
    needs: [...lastingParts, ...testPrograms, ...ofQemu, "registry"],
  });
  // Ctrl-C reaches the tests by themselves; we stay to stop what we started.
  process.on("SIGINT", () => say("Interrupted: stopping what was started"));
  try {
    if (missing.length > 0) {
      say(
        `${inCi ? "Missing" : "Skipping the tests on real parts, since these are missing"}:\n${describeMissing(missing)}`,
      );
      if (inCi) return 1;
    }
    const optional = [...testPrograms, ...qemuParts];
    if (missing.some(({ part }) => !optional.some((each) => each === part)))
      return await runFiles(files.ordinary, environment);
    return await runLanes(files, environment);
  } finally {
    await stop();
  }
}

/**
 * The compiled tests whose names contain one of the given parts, or all. Goes by the sources: the output folder may
 * still hold tests that are no more.
 * @param {readonly string[]} nameParts
 */
function findTests(nameParts) {
  const sources = /** @type {string[]} */ (readdirSync(testFolder, { recursive: true }))
    .map((name) => name.replaceAll("\\", "/"))
    .filter((name) => name.endsWith(".test.ts") && !/^(fixtures|programs)\//.test(name))
    .filter((name) => nameParts.length === 0 || nameParts.some((part) => name.includes(part)))
    .sort();
  if (sources.length === 0) throw new Error(`Looking for tests: no name contains ${nameParts.join(" or ")}.`);
  const isLive = (/** @type {string} */ name) => name.startsWith("live/");
  return { ordinary: sources.filter((name) => !isLive(name)), live: sources.filter(isLive) };
}

/**
 * Three lanes, one file at a time in each: each waits for much of its time, and what they start on Docker's engine they do
 * not share. What a lane prints is kept until all have ended, but for the first; then come the failures of all.
 * @param {{ ordinary: readonly string[], live: readonly string[] }} files
 * @param {NodeJS.ProcessEnv} environment
 */
async function runLanes({ ordinary, live }, environment) {
  // About as much work in each.
  const isOfSecond = (/** @type {string} */ name) => /qemu|live\/registry\./.test(name);
  const isOfThird = (/** @type {string} */ name) => /live\/(install|rollout)\./.test(name);
  const lanes = [
    live.filter((name) => !isOfSecond(name) && !isOfThird(name)),
    live.filter(isOfSecond),
    [...ordinary, ...live.filter(isOfThird)],
  ].filter((names) => names.length > 0);
  const folder = mkdtempSync(join(tmpdir(), "kiln-tests-"));
  try {
    const runs = lanes.map((names, at) => runLane(names, environment, join(folder, String(at)), at === 0));
    const exitCodes = await Promise.all(runs);
    const kept = lanes.slice(1).map((_, at) => join(folder, `${at + 1}.output`));
    // A lane that could not begin has none.
    const failures = lanes.map((_, at) => join(folder, `${at}.failures`)).filter((file) => existsSync(file));
    for (const file of [...kept, ...(lanes.length > 1 ? failures : [])])
      process.stdout.write(readFileSync(file));
    return exitCodes.find((code) => code !== 0) ?? 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * @param {readonly string[]} names
 * @param {NodeJS.ProcessEnv} environment
 * @param {string} report where to keep the failures, and the output unless it is live
 * @param {boolean} isLive
 */
async function runLane(names, environment, report, isLive) {
  const failures = [
    "--test-reporter-destination=stdout",
    `--test-reporter=${new URL("./parts/failures-reporter.mjs", import.meta.url).href}`,
    `--test-reporter-destination=${report}.failures`,
  ];
  const output = isLive ? undefined : openSync(`${report}.output`, "w");
  try {
    return await runFiles(names, environment, ["--test-concurrency=1", ...failures], output);
  } finally {
    if (output !== undefined) closeSync(output);
  }
}

/** @returns {NodeJS.ProcessEnv} */
function withoutParts() {
  const names = Object.keys(process.env).filter((name) => name.startsWith("KILN_"));
  return Object.fromEntries(names.map((name) => [name, undefined]));
}

/**
 * Runs compiled tests and returns the exit code.
 * @param {readonly string[]} names of the sources, below test/
 * @param {NodeJS.ProcessEnv} environment
 * @param {readonly string[]} [options]
 * @param {boolean | number} [live] Where to: our terminal, or an open file.
 */
async function runFiles(names, environment, options = [], live = true) {
  if (names.length === 0) return 0;
  const files = names.map((name) => join("out/test", name.replace(/\.ts$/, ".js")));
  return runForExitCode(
    process.execPath,
    [
      "--test",
      "--test-reporter=spec",
      "--enable-source-maps",
      "--require=./out/test/support/seed.js",
      ...options,
      ...files,
    ],
    {
      cwd: repositoryFolder,
      env: environment,
      live,
    },
  );
}

try {
  process.exitCode = await runTests(process.argv.slice(2));
} catch (error) {
  say(/** @type {Error} */ (error).message);
  process.exitCode = 1;
}
