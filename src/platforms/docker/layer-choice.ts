/** Whether files may be sent as a layer of an image. Into a container they get in any case. */
import type { Archive } from "../../communicators/archive";
import type { ImageDetails } from "./driver";
import type { DockerImageOptions } from "./options";

/** For less, a container is quicker than an image. */
const WORTH_COUNT = 100;
const WORTH_BYTES = 1_000_000;
/** Where the engine puts something of its own into each container. */
const ENGINE_NAMES = ["dev", "proc", "sys", ".dockerenv"];
/** In a layer, names that begin so remove what is below. */
const WHITEOUT = /(^|\/)\.wh\./;
/** A layer may hold a path once only, however it is written. */
const ROUNDABOUT = /(^|\/)(\.{0,2})(\/|$)/;

/** `name` is the top of what is sent, below "/", where there is nothing of this name yet. */
export function fitsLayer(
  name: string,
  archive: Archive,
  options: DockerImageOptions,
  source: ImageDetails,
): boolean {
  if (archive.count < WORTH_COUNT && archive.measureBytes() < WORTH_BYTES) return false;
  if (ENGINE_NAMES.includes(name) || archive.names.some((path) => WHITEOUT.test(path))) return false;
  if (archive.names.some((path) => ROUNDABOUT.test(path))) return false;
  return !listMounts(options, source).some((path) => path.split("/")[1] === name);
}

/** What goes to these is not in the image. */
function listMounts({ volumes = [], tmpfs = [] }: DockerImageOptions, { config }: ImageDetails): string[] {
  const own = config["Volumes"] ?? {};
  return [...Object.keys(own), ...[...volumes, ...tmpfs].flatMap((mount) => mount.split(":"))];
}
