/**
 * Stages as images, committed from the build's container: `kiln.local/stage/<key>:<resource>-<build>`, a tag for each build
 * that made or used it, so that `docker image prune` leaves it. The form is for ever.
 */
import type { BuildContext } from "../../core/context";
import type { Json, StageKeeper } from "../../core/model";
import {
  findNewest,
  formatStageMark,
  ownerOfStages,
  parseStageMark,
  type StageMark,
} from "../../core/stage-claims";
import type { DockerDriver, ImageConfig, ImageDetails, ListedImage } from "./driver";
import { BuildMachine, sourceConfig } from "./machine";
import { explainObstacle, readContents, type MachineContents } from "./machine-contents";
import type { DockerImageOptions } from "./options";
import { platformOf } from "./source-image";

const PREFIX = "kiln.local/stage/";
/** Less deep than claims are: neither list shows the other. */
const PATTERN = `${PREFIX}*`;
/** Tells a stage's image from a source in the history of an image; nothing is decided by it. */
const COMMENT = "pulumi-kiln stage";

/**
 * A stage of more than this is gone on from, so that what follows does not hold it a second time; for less, a new container
 * costs more than it saves.
 */
const REPEATED_SHARE = 0.005;
const MOST_REPEATED_BYTES = 4_000_000;
/** Longer than any encoded secret that is looked for: one at the cut is found with the next piece. */
const OVERLAP_BYTES = 64 * 1024;

export async function listStages(driver: DockerDriver, signal: AbortSignal): Promise<StageMark[]> {
  const images = await driver.listImages(PATTERN, signal);
  const sizes = new Map(images.map(({ imageId, sizeBytes }) => [imageId, sizeBytes]));
  for (const { parent } of images)
    if (parent !== "" && !sizes.has(parent))
      sizes.set(parent, (await driver.findImage(parent, signal))?.sizeBytes ?? 0);
  return images.flatMap((image) => {
    const ownBytes = Math.max(0, image.sizeBytes - (sizes.get(image.parent) ?? 0));
    return readMarks(image).map((mark) => ({ ...mark, ownBytes }));
  });
}

function readMarks({ imageId, tags, createdMs }: ListedImage): Omit<StageMark, "ownBytes">[] {
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
    if (parent?.comment !== COMMENT) return below;
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

/** One build's view of the engine's stages. */
export class DockerStages implements StageKeeper {
  readonly build: BuildMachine;
  private found = new Map<string, { stageId: string; sizeBytes: number }>();
  private before: MachineContents | undefined;
  private baseBytes: number;
  private isSaved = false;
  /** Of the stage that was saved last. */
  private savedId = "";

  constructor(
    private readonly context: BuildContext,
    private readonly setup: { driver: DockerDriver; options: DockerImageOptions; owner: string; id: string },
    private readonly source: ImageDetails,
  ) {
    this.baseBytes = source.sizeBytes;
    this.build = new BuildMachine(context, setup, source, async () => {
      if (this.isSaved) this.before = await this.readContents();
    });
  }

  get machine(): { [key: string]: Json | undefined } {
    const { user, environment, volumes, devices, tmpfs, privileged, capAdd, capDrop, network } =
      this.setup.options;
    return {
      image: { layers: this.source.layers, config: normalizeConfig(this.source.config) },
      platform: platformOf(this.source),
      user, environment, volumes, devices, tmpfs, privileged, capAdd, capDrop, network,
    }; // prettier-ignore
  }

  async findStages(keys: readonly string[]): Promise<ReadonlySet<string>> {
    const images = await this.setup.driver.listImages(PATTERN, this.context.signal);
    const sizes = new Map(images.map(({ imageId, sizeBytes }) => [imageId, sizeBytes]));
    const newest = findNewest(images.flatMap(readMarks).filter((mark) => keys.includes(mark.key)));
    for (const [key, stageId] of newest) this.found.set(key, { stageId, sizeBytes: sizes.get(stageId) ?? 0 });
    return new Set(newest.keys());
  }

  async openMachine(key: string | undefined, { isSaved }: { isSaved: boolean }): Promise<void> {
    const stage = key === undefined ? undefined : this.found.get(key);
    this.isSaved = isSaved;
    this.baseBytes = stage?.sizeBytes ?? this.source.sizeBytes;
    await this.build.open(stage?.stageId ?? this.source.id);
    const { volumes, tmpfs } = this.setup.options;
    // What is sent into a mount must be told from what was there before.
    if (isSaved && (volumes || tmpfs || hasEntries(this.source.config["Volumes"])))
      await this.build.communicator.start(this.context.signal);
  }

  async claimStages(keys: readonly string[]): Promise<void> {
    const { driver } = this.setup;
    const claim = async (key: string): Promise<void> => {
      const stage = this.found.get(key);
      if (stage) await driver.tagImage(stage.stageId, PREFIX + key, this.tag, this.context.signal);
    };
    await Promise.all(keys.map(claim));
  }

  async findObstacle(): Promise<string | undefined> {
    if (!this.build.communicator.isStarted) return undefined;
    return explainObstacle(this.before, await this.readContents());
  }

  measureBytes(): Promise<number> {
    return this.setup.driver.measureContainer(this.build.container, this.context.signal);
  }

  async containsText(pattern: RegExp): Promise<boolean> {
    const files = await this.setup.driver.exportContainer(this.build.container, this.context.signal);
    let rest = "";
    for await (const chunk of files as AsyncIterable<Buffer>) {
      const text = rest + chunk.toString("latin1");
      if (pattern.test(text)) return true;
      rest = text.slice(-OVERLAP_BYTES);
    }
    return false;
  }

  async saveStage(key: string): Promise<void> {
    const { driver, options } = this.setup;
    const { signal } = this.context;
    this.savedId = await driver.commitContainer(
      {
        container: this.build.container,
        repository: PREFIX + key,
        tag: this.tag,
        config: sourceConfig(this.source.config, options.changes ?? []),
        changes: [],
        comment: COMMENT,
        pause: false,
      },
      signal,
    );
  }

  /** The image itself stands on the last stage: a container that is never started adds nothing to it. */
  async continueFrom(key: string, stage: { isLast: boolean; sizeBytes: number }): Promise<void> {
    const sizeBytes = this.baseBytes + stage.sizeBytes;
    const isSmall = stage.sizeBytes <= Math.min(MOST_REPEATED_BYTES, sizeBytes * REPEATED_SHARE);
    if (isSmall && !stage.isLast) return;
    this.found.set(key, { stageId: this.savedId, sizeBytes });
    await this.openMachine(key, { isSaved: !stage.isLast });
  }

  private get tag(): string {
    return formatStageMark(ownerOfStages(this.setup.owner), this.setup.id);
  }

  private readContents(): Promise<MachineContents | undefined> {
    return readContents(this.setup.driver, this.build.container, this.context.signal);
  }
}

/** What steps can see of a configuration, and what the next image inherits; engines differ in how they write nothing. */
function normalizeConfig(config: ImageConfig): { [key: string]: Json } {
  const kept = [
    "Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "OnBuild", "Shell", "StopSignal", "User", "Volumes", "WorkingDir",
  ]; // prettier-ignore
  const filled = kept.filter((name) => config[name] !== "" && hasEntries(config[name]));
  return Object.fromEntries(filled.map((name) => [name, config[name] as Json]));
}

function hasEntries(value: unknown): boolean {
  if (value === undefined || value === null) return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}
