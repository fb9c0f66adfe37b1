import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { Artifact } from "../core/model";
import type { CommonOptions, Site, UndoOptions } from "../core/platform";
import { removeFromManifest } from "../post-processors/manifest";

export interface RemovalOptions extends UndoOptions {
  site: Site<CommonOptions> | undefined;
  artifact: Artifact;
  cwd: string;
}

/** Undoes what post-processors made. Already gone is success. */
export async function removeMade(made: readonly string[], options: RemovalOptions): Promise<void> {
  for (const item of made) {
    const [, scheme, rest = ""] = /^([\w-]+):(.*)$/s.exec(item) ?? [];
    if (scheme === "file") await fs.rm(path.resolve(options.cwd, rest), { force: true });
    else if (scheme === "manifest") await removeFromManifest(rest, options.cwd, options.signal);
    else await options.site?.undo(item, options.artifact, options);
  }
}
