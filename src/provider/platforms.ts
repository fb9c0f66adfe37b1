import type { Platform } from "../core/platform";

/** Every image type; a platform's code is loaded when the first resource of it comes. */
const PLATFORMS: Record<string, () => Platform> = {
  "docker:Image": () =>
    (require("../platforms/docker/platform") as typeof import("../platforms/docker/platform"))
      .platform as unknown as Platform,
  "qemu:Image": () =>
    (require("../platforms/qemu/platform") as typeof import("../platforms/qemu/platform"))
      .platform as unknown as Platform,
};

export function requirePlatform(type: string): Platform {
  const load = PLATFORMS[type];
  if (!load)
    throw new Error(
      `This version of pulumi-kiln does not know the resource type "${type}". Update the package`,
    );
  return load();
}
