import type { BuildContext } from "../../core/context";
import type { DockerDriver, ImageDetails } from "./driver";
import type { DockerImageOptions } from "./options";

/** Which image a build starts from, and where. */
export interface SourceOptions {
  driver: DockerDriver;
  options: DockerImageOptions;
  /** The registry's digest of the source, where the fingerprint stands on one. */
  baseDigest?: string;
}

/** The image to start from, fetched if `pull` says so; it fits the platform that was asked for. */
export async function findSource(context: BuildContext, build: SourceOptions): Promise<ImageDetails> {
  const { driver, options } = build;
  const { signal, log } = context;
  const reference = build.baseDigest
    ? `${options.image.replace(/(:[^/]*)?(@.*)?$/, "")}@${build.baseDigest}`
    : options.image;
  const present = await driver.findImage(reference, signal);
  const policy = options.pull ?? "missing";
  if (present && fitsPlatform(present, options.platform)) return present;
  if (policy === "never") {
    throw new Error(
      `Looking for the source image ${reference}: the engine at ${driver.address} ${present ? `has it for ${platformOf(present)} only` : "does not have it"}, and \`pull\` is "never"`,
    );
  }
  log.info(`pulling ${reference}`);
  await driver.pullImage(reference, options.platform, (text) => log.progress(text), signal);
  const pulled = await driver.findImage(reference, signal);
  if (!pulled)
    throw new Error(`Pulling ${reference}: the engine says it is done, but does not have the image`);
  if (!fitsPlatform(pulled, options.platform))
    throw new Error(`Pulling ${reference} for ${options.platform}: the registry gave ${platformOf(pulled)}`);
  return pulled;
}

/** `linux/arm64/v8`, as users write it. */
export function platformOf(image: ImageDetails): string {
  return [image.os, image.architecture, image.variant].filter((part) => part !== "").join("/");
}

/** Whether an image can be used where this platform was asked for. */
export function fitsPlatform(image: ImageDetails, platform: string | undefined): boolean {
  if (platform === undefined) return true;
  const [os, architecture, variant] = platform.split("/");
  return (
    image.os === os &&
    image.architecture === architecture &&
    (variant === undefined || image.variant === "" || image.variant === variant)
  );
}
