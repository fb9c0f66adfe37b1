/** Pulumi's Docker provider, the plugin behind the npm package @pulumi/docker. */
import { existsSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { cachePath, step } from "./cache.mjs";
import { isProgram, run } from "./command.mjs";
import { withGo } from "./go-build.mjs";
import { reachesDownloads } from "./pulumi.mjs";

/** The plugin's version: the npm package of the same version asks for exactly this one. */
export const dockerProviderVersion = "5.2.0";

const plugin = ["plugin", "install", "resource", "docker", `v${dockerProviderVersion}`];

/**
 * Builds the plugin where it cannot be downloaded. Needs no Pulumi, so it may go on beside Pulumi's own build.
 * @param {string} home the PULUMI_HOME it is meant for
 */
export async function prepareDockerProvider(home) {
  if (isInstalled(home) || isProgram(builtProgram()) || (await reachesDownloads())) return;
  await step("Building Pulumi's Docker provider from source (minutes, once)", build);
}

/**
 * Sees to it that the plugin is installed in a PULUMI_HOME.
 * @param {string} pulumi
 * @param {NodeJS.ProcessEnv & { PULUMI_HOME: string }} env
 */
export async function ensureDockerProvider(pulumi, env) {
  if (isInstalled(env.PULUMI_HOME)) return;
  await prepareDockerProvider(env.PULUMI_HOME);
  const from = isProgram(builtProgram()) ? ["--reinstall", "--file", dirname(builtProgram())] : [];
  await step("Installing Pulumi's Docker provider", () => run(pulumi, [...plugin, ...from], { env }));
}

/** @param {string} home */
function isInstalled(home) {
  const folder = join(home, "plugins", `resource-docker-v${dockerProviderVersion}`);
  // Pulumi leaves the second file behind when an installation broke off.
  return existsSync(folder) && !existsSync(`${folder}.partial`);
}

const builtProgram = () => cachePath(`docker-provider-${dockerProviderVersion}`, "pulumi-resource-docker");

async function build() {
  const draft = cachePath("docker-provider.draft");
  const otherwise = "Or give this machine a way to Pulumi's plugin downloads.";
  await withGo(otherwise, (go) =>
    go("docker-provider", [
      "build",
      "-tags",
      "no_compose",
      "-trimpath",
      "-ldflags",
      "-s -w",
      "-o",
      draft,
      ".",
    ]),
  );
  renameSync(draft, builtProgram());
}
