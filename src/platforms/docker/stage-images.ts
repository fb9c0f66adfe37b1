/**
 * Stages as images, committed from the build's container: `kiln.local/stage/<key>:<resource>-<build>`, a tag for each build
 * that made or used it, so that `docker image prune` leaves it. The form is for ever.
 */
import { formatStageMark, parseStageMark, type StageMark } from "../../core/stage-claims";
import type { DockerDriver, ImageDetails, ListedImage } from "./driver";

export const PREFIX = "kiln.local/stage/";
/** Less deep than claims are: neither list shows the other. */
export const PATTERN = `${PREFIX}*`;
/** Tells a stage's image from a source in the history of an image; nothing is decided by it. */
export const COMMENT = "pulumi-kiln stage";
/** Of one that was made without a container, and so has no parent. */
export const COMMENT_ON = `${COMMENT} on `;

export async function listStages(driver: DockerDriver, signal: AbortSignal): Promise<StageMark[]> {
  const images = await driver.listImages(PATTERN, signal);
  const sizes = new Map(images.map(({ imageId, sizeBytes }) => [imageId, sizeBytes]));
  const marks: StageMark[] = [];
  for (const image of images) {
    const details = image.parent === "" ? await driver.findImage(image.imageId, signal) : undefined;
    const below = image.parent || (details ? findBelow(details) : "");
    if (below !== "" && !sizes.has(below))
      sizes.set(below, (await driver.findImage(below, signal))?.sizeBytes ?? 0);
    const ownBytes = Math.max(0, image.sizeBytes - (sizes.get(below) ?? 0));
    marks.push(...readMarks(image).map((mark) => ({ ...mark, ownBytes })));
  }
  return marks;
}

/** The id of what an image was made of, "" if nobody tells. */
function findBelow({ parent, comment }: ImageDetails): string {
  return parent === "" && comment.startsWith(COMMENT_ON) ? comment.slice(COMMENT_ON.length) : parent;
}

export function readMarks({ imageId, tags, createdMs }: ListedImage): Omit<StageMark, "ownBytes">[] {
  return tags.flatMap((tag) => {
    const mark = parseReference(tag);
    return mark ? { ...mark, stageId: imageId, createdMs } : [];
  });
}

/** In use by a build: it stays, for a later build to remove. */
export async function dropStage(driver: DockerDriver, mark: StageMark, signal: AbortSignal): Promise<void> {
  await driver.untagImage(formatReference(mark), signal);
}

/** The image that the stages below an image stand on. */
export async function findSourceId(
  driver: DockerDriver,
  image: ImageDetails,
  signal: AbortSignal,
): Promise<string> {
  let below = image.parent;
  for (;;) {
    const parent = below === "" ? undefined : await driver.findImage(below, signal);
    if (!parent?.comment.startsWith(COMMENT)) return below;
    below = findBelow(parent);
  }
}

function formatReference({ key, owner, id }: Pick<StageMark, "key" | "owner" | "id">): string {
  return `${PREFIX}${key}:${formatStageMark(owner, id)}`;
}

function parseReference(reference: string): Pick<StageMark, "key" | "owner" | "id"> | undefined {
  const [, key, tag = ""] = /^kiln\.local\/stage\/([0-9a-f]+):([^/:]+)$/.exec(reference) ?? [];
  const mark = parseStageMark(tag);
  return key !== undefined && mark ? { key, ...mark } : undefined;
}
