/** `npm run bench [-- name …]`: sets up what is missing, the peers too, and prints the table. */
import { installPackages } from "./parts/apt.mjs";
import { runForExitCode } from "./parts/command.mjs";
import { compileTests, ensureBuild, ensureNodePackages, repositoryFolder } from "./parts/node-packages.mjs";
import { describeMissing, lastingParts, setUp, testPrograms } from "./setup.mjs";

await ensureNodePackages();
await ensureBuild();
await compileTests();
const { environment, missing, stop } = await setUp({ needs: [...lastingParts, ...testPrograms, "registry"] });
try {
  if (missing.length > 0) throw new Error(`Measuring needs all parts:\n${describeMissing(missing)}`);
  await installPackages(
    ["packer", "docker.io", "rsync", "openssh-client"],
    "Install Packer, the docker command, rsync and scp, and try again.",
  );
  process.exitCode = await runForExitCode(
    process.execPath,
    ["out/bench/index.js", ...process.argv.slice(2)],
    {
      cwd: repositoryFolder,
      env: environment,
    },
  );
} finally {
  await stop();
}
