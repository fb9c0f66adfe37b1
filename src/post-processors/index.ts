/** The table of post-processors that know no platform: a line here makes the public factory (`kiln.checksum`) and tells the engine where the rest is. */
import { unit } from "../pulumi/unit";

/** Writes a JSON file that lists what was built. */
export const manifest = unit(
  "manifest",
  () => (require("./manifest") as typeof import("./manifest")).definition,
);
/** Writes the checksums of the artifact's files. */
export const checksum = unit(
  "checksum",
  () => (require("./checksum") as typeof import("./checksum")).definition,
);
/** Packs and compresses the artifact's files. */
export const compress = unit(
  "compress",
  () => (require("./compress") as typeof import("./compress")).definition,
);
