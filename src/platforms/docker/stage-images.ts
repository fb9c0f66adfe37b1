/**
 * Stages as images, committed from the build's container: `kiln.local/stage/<key>:<resource>-<build>`, a tag for each build
 * that made or used it, so that `docker image prune` leaves it. The form is for ever.
 */
import { formatStageMark, parseStageMark, type StageMark } from "../../core/stage-claims";
import type { DockerDriver, ImageDetails, ListedImage } from "./driver";

export const PREFIX = "kiln.local/stage/";
/** Less deep than claims are: neither list shows the other. */
export const PATTERN = `${PREFIX}*`;
/** Tells a stage's image from a source in the history of an image; whose it is, and whether it goes, are not decided by it. */
export const COMMENT = "pulumi-kiln stage";
const COMMENT_WITHOUT_PARENT = /^pulumi-kiln stage of (\d+) bytes on (sha256:[0-9a-f]{64})$/;

/** For a stage that was made without a container, and so has no parent: what it adds, and the image that all of it stands on. */
export function formatComment(ownBytes: number, sourceId: string): string {
  return `${COMMENT} of ${ownBytes} bytes on ${sourceId}`;
}

export async function listStages(driver: DockerDriver, signal: AbortSignal): Promise<StageMark[]> {
  const images = await driver.listImages(PATTERN, signal);
  const sizes = new Map(images.map(({ imageId, sizeBytes }) => [imageId, sizeBytes]));
  const marks: StageMark[] = [];
  for (const image of images) {
    const { parent, sizeBytes } = image;
    if (parent !== "" && !sizes.has(parent))
      sizes.set(parent, (await driver.findImage(parent, signal))?.sizeBytes ?? 0);
    const ownBytes =
      parent === ""
        ? await readOwnBytes(driver, image, signal)
        : Math.max(0, sizeBytes - (sizes.get(parent) ?? 0));
    marks.push(...readMarks(image).map((mark) => ({ ...mark, ownBytes })));
  }
  return marks;
}

async function readOwnBytes(driver: DockerDriver, image: ListedImage, signal: AbortSignal): Promise<number> {
  const details = await driver.findImage(image.imageId, signal);
  const [, ownBytes] = COMMENT_WITHOUT_PARENT.exec(details?.comment ?? "") ?? [];
  return ownBytes === undefined ? image.sizeBytes : Number(ownBytes);
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
    const [, , sourceId] = COMMENT_WITHOUT_PARENT.exec(parent.comment) ?? [];
    if (sourceId !== undefined) return sourceId;
    below = parent.parent;
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
