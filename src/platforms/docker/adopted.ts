/**
 * Images that kiln took over and did not build. An image goes with its last name; so an adopted one gets a name
 * `kiln.local/adopted:<id>` of its own, that stays when all claims have gone and nobody else has named it.
 */
import type { DockerDriver } from "./driver";

const REPOSITORY = "kiln.local/adopted";
const ID_LENGTH = 24;

export async function guardAdopted(
  driver: DockerDriver,
  imageId: string,
  signal: AbortSignal,
): Promise<void> {
  await driver.tagImage(imageId, REPOSITORY, formatGuard(imageId), signal);
}

/** The name is needed no more when nothing of kiln's is on the image, and it has another. */
export async function releaseAdopted(
  driver: DockerDriver,
  imageId: string,
  signal: AbortSignal,
): Promise<void> {
  const guard = `${REPOSITORY}:${formatGuard(imageId)}`;
  const image = await driver.findImage(guard, signal);
  if (!image) return;
  const others = image.tags.filter((tag) => tag !== guard);
  if (others.length > 0 && !others.some((tag) => tag.startsWith("kiln.local/")))
    await driver.untagImage(guard, signal);
}

function formatGuard(imageId: string): string {
  return imageId.replace("sha256:", "").slice(0, ID_LENGTH);
}
