/** The table of post-processors that know no platform: a line here makes the public factory (`kiln.checksum`) and tells the engine where the rest is. */
import { unit } from "../pulumi/unit";
import type { ChecksumOptions } from "./checksum";
import type { CompressOptions } from "./compress";
import type { ManifestOptions } from "./manifest";

/** Writes a JSON file that lists what was built. */
export const manifest = unit<"manifest", ManifestOptions>(
  "manifest",
  () => (require("./manifest") as typeof import("./manifest")).definition,
);
/** Writes the checksums of the artifact's files. */
export const checksum = unit<"checksum", ChecksumOptions>(
  "checksum",
  () => (require("./checksum") as typeof import("./checksum")).definition,
);
/** Packs and compresses the artifact's files. */
export const compress = unit<"compress", CompressOptions>(
  "compress",
  () => (require("./compress") as typeof import("./compress")).definition,
);
