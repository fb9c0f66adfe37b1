/** `npm run bench [-- name …]`: sets up what is missing, the peers too, and prints the table. */
import { installPackages } from "./parts/apt.mjs";
import { runForExitCode } from "./parts/command.mjs";
import { compileTests, ensureBuild, ensureNodePackages, repositoryFolder } from "./parts/node-packages.mjs";
import { describeMissing, lastingParts, qemuParts, setUp, testPrograms } from "./setup.mjs";

await ensureNodePackages();
await ensureBuild();
await compileTests();
const wished = process.argv.slice(2);
const ofQemu = wished.length === 0 || wished.includes("qemu") ? qemuParts : [];
const needs = [...lastingParts, ...testPrograms, ...ofQemu, /** @type {const} */ ("registry")];
const { environment, missing, stop } = await setUp({ needs });
try {
  if (missing.length > 0) throw new Error(`Measuring needs all parts:\n${describeMissing(missing)}`);
  await installPackages(
    ["packer", "docker.io", "rsync", "openssh-client"],
    "Install Packer, the docker command, rsync and scp, and try again.",
  );
  process.exitCode = await runForExitCode(process.execPath, ["out/bench/index.js", ...wished], {
    cwd: repositoryFolder,
    env: environment,
  });
} finally {
  await stop();
}
