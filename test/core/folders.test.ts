import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { cacheFolder, stateFolder } from "../../src/core/folders";

const home = join("/", "home", "ada");
const rows: {
  title: string;
  platform: NodeJS.Platform;
  env: Record<string, string>;
  cache: string[];
  state: string[];
}[] = [
  {
    title: "Linux",
    platform: "linux",
    env: {},
    cache: [home, ".cache", "pulumi-kiln"],
    state: [home, ".local", "state", "pulumi-kiln"],
  },
  {
    title: "XDG",
    platform: "linux",
    env: { XDG_CACHE_HOME: "/c", XDG_STATE_HOME: "/s" },
    cache: ["/c", "pulumi-kiln"],
    state: ["/s", "pulumi-kiln"],
  },
  {
    title: "an empty variable, which is as good as none",
    platform: "linux",
    env: { XDG_CACHE_HOME: "", PULUMI_KILN_HOME: "" },
    cache: [home, ".cache", "pulumi-kiln"],
    state: [home, ".local", "state", "pulumi-kiln"],
  },
  {
    title: "macOS",
    platform: "darwin",
    env: {},
    cache: [home, "Library", "Caches", "pulumi-kiln"],
    state: [home, "Library", "Application Support", "pulumi-kiln"],
  },
  {
    title: "Windows",
    platform: "win32",
    env: { LOCALAPPDATA: "/local" },
    cache: ["/local", "pulumi-kiln", "cache"],
    state: ["/local", "pulumi-kiln", "state"],
  },
  {
    title: "a folder of our own, before all others",
    platform: "win32",
    env: { PULUMI_KILN_HOME: "/kiln", XDG_CACHE_HOME: "/c", LOCALAPPDATA: "/local" },
    cache: ["/kiln", "cache"],
    state: ["/kiln", "state"],
  },
];

describe("the folders of", () => {
  for (const { title, platform, env, cache, state } of rows) {
    it(title, () => {
      assert.equal(cacheFolder({ env, platform, home }), join(...cache));
      assert.equal(stateFolder({ env, platform, home }), join(...state));
    });
  }
});
