/**
 * `npm test [-- unit] [part of a file name …]`: sets up what is missing, compiles, and runs the tests.
 * `unit` leaves out all that needs real parts. With CI=true it lints first, and a missing part is an error.
 */
import { readdirSync } from "node:fs";
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
  if (inCi && (await runForExitCode("npm", ["run", "lint"], { cwd: repositoryFolder })) !== 0) return 1;
  await ensureBuild();
  await compileTests();
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
    const ordinary = await runFiles(files.ordinary, environment);
    const optional = [...testPrograms, ...qemuParts];
    if (missing.some(({ part }) => !optional.some((each) => each === part))) return ordinary;
    // These share one engine and the machine's cores with what they measure and start: one at a time.
    const live = await runFiles(files.live, environment, ["--test-concurrency=1"]);
    return ordinary || live;
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
 */
async function runFiles(names, environment, options = []) {
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
    },
  );
}

try {
  process.exitCode = await runTests(process.argv.slice(2));
} catch (error) {
  say(/** @type {Error} */ (error).message);
  process.exitCode = 1;
}
