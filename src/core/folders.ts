import { homedir } from "node:os";
import { join } from "node:path";

/** The facts about a machine and its user that decide where files are kept; an argument so that tests need no such machine. */
export interface FolderSurroundings {
  env: Readonly<Record<string, string | undefined>>;
  platform: NodeJS.Platform;
  home: string;
}

/** Where to keep what can be made again at any time: losing it costs time, never correctness. The folder may not exist yet. */
export function cacheFolder(surroundings: FolderSurroundings = currentSurroundings()): string {
  const { env, platform, home } = surroundings;
  if (env.PULUMI_KILN_HOME) return join(env.PULUMI_KILN_HOME, "cache");
  if (env.XDG_CACHE_HOME) return join(env.XDG_CACHE_HOME, "pulumi-kiln");
  if (platform === "darwin") return join(home, "Library", "Caches", "pulumi-kiln");
  if (platform === "win32") return join(localAppData(surroundings), "pulumi-kiln", "cache");
  return join(home, ".cache", "pulumi-kiln");
}

/** Where to keep what must outlive a crash, such as the record of unfinished builds. The folder may not exist yet. */
export function stateFolder(surroundings: FolderSurroundings = currentSurroundings()): string {
  const { env, platform, home } = surroundings;
  if (env.PULUMI_KILN_HOME) return join(env.PULUMI_KILN_HOME, "state");
  if (env.XDG_STATE_HOME) return join(env.XDG_STATE_HOME, "pulumi-kiln");
  if (platform === "darwin") return join(home, "Library", "Application Support", "pulumi-kiln");
  if (platform === "win32") return join(localAppData(surroundings), "pulumi-kiln", "state");
  return join(home, ".local", "state", "pulumi-kiln");
}

function currentSurroundings(): FolderSurroundings {
  return { env: process.env, platform: process.platform, home: homedir() };
}

function localAppData({ env, home }: FolderSurroundings): string {
  return env.LOCALAPPDATA || join(home, "AppData", "Local");
}
