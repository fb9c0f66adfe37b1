import * as path from "node:path";
import type { DockerImageOptions } from "./options";

/** See `Platform.localize`. The options may hold anything: nobody has validated them yet. */
export function localizePaths(
  options: DockerImageOptions,
  relativize: (text: string) => string,
): DockerImageOptions {
  const { exportPath, volumes } = options;
  const localized = { ...options };
  if (typeof exportPath === "string") localized.exportPath = relativize(exportPath);
  if (Array.isArray(volumes))
    localized.volumes = volumes.map((volume) =>
      typeof volume === "string" ? localizeVolume(volume, relativize) : volume,
    );
  return localized;
}

/** Only what is in the program's folder: what is mounted from elsewhere is a system's, at the same place on each machine. */
function localizeVolume(volume: string, relativize: (text: string) => string): string {
  const [, host = "", rest = ""] = /^((?:[A-Za-z]:(?=[\\/]))?[^:]*)(:.*)?$/s.exec(volume) ?? [];
  // Without a colon it is a folder of the machine.
  if (rest === "" || !path.isAbsolute(host)) return volume;
  const relative = relativize(host);
  if (path.isAbsolute(relative) || /^\.\.(\/|$)/.test(relative)) return volume;
  // A mount without a leading dot would be a volume's name.
  return (/^\.(\/|$)/.test(relative) ? relative : `./${relative}`) + rest;
}
