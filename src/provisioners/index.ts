/**
 * The table of provisioners: a line here makes the public factory (`kiln.shell`) and tells the engine where the rest is.
 * Nothing is loaded before it is needed, since a user's program imports this file too.
 */
import { unit } from "../pulumi/unit";

/** Runs commands or scripts in the machine being built. */
export const shell = unit("shell", () => (require("./shell") as typeof import("./shell")).definition);
/** Sends files into the machine being built, or fetches some from it. */
export const file = unit("file", () => (require("./file") as typeof import("./file")).definition);
/** Runs commands or scripts on the machine that runs Pulumi: as a provisioner between two steps, as a post-processor after the build. */
export const shellLocal = unit(
  "shell-local",
  () => (require("./shell-local") as typeof import("./shell-local")).definition,
);
