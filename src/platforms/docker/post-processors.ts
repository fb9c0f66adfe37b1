/** The table of Docker's post-processors: a line here makes the public factory (`kiln.docker.tag`). Nothing is loaded before it is needed. */
import { unit } from "../../pulumi/unit";

/** Gives the image names on the engine. */
export const tag = unit("docker-tag", () => (require("./tag") as typeof import("./tag")).definition);
/** Pushes the names that `tag` gave before it in the sequence. */
export const push = unit("docker-push", () => (require("./push") as typeof import("./push")).definition);
/** Writes the image to a file, as `docker save` does. */
export const save = unit("docker-save", () => (require("./save") as typeof import("./save")).definition);
