/** Environment variables that keep the set-up's Pulumi away from the user's own login, plugins and stacks. */
import { mkdirSync } from "node:fs";
import { delimiter, dirname } from "node:path";
import { cachePath } from "./cache.mjs";

/** The PULUMI_HOME of these runs. */
export const pulumiHome = () => cachePath("pulumi-home");

/**
 * The variables for a run of this Pulumi. The folders they name exist.
 * @param {string} pulumi the program's full path
 */
export function pulumiEnvironment(pulumi) {
  const home = pulumiHome();
  const state = cachePath("state");
  mkdirSync(home, { recursive: true });
  mkdirSync(state, { recursive: true });
  return {
    // In front, so that the language host beside this Pulumi is taken and not another one's.
    PATH: [
      dirname(pulumi),
      ...(process.env.PATH ?? "").split(delimiter).filter((name) => name !== dirname(pulumi)),
    ].join(delimiter),
    PULUMI_HOME: home,
    PULUMI_BACKEND_URL: `file://${state}`,
    PULUMI_CONFIG_PASSPHRASE: "",
    PULUMI_SKIP_UPDATE_CHECK: "true",
    PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
  };
}
