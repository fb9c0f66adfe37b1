import type { Archive } from "../../communicators/archive";
import type { BuildContext } from "../../core/context";
import { describeError } from "../../core/errors";
import type { Json, StageKeeper } from "../../core/model";
import { findNewest, formatStageMark, ownerOfStages } from "../../core/stage-claims";
import { nameContainer } from "./container-name";
import { deferUnload, draftRepository } from "./drafts";
import type { DockerDriver, ImageConfig, ImageDetails, LayerOptions } from "./driver";
import { EngineError } from "./engine-error";
import { fitsLayer } from "./layer-choice";
import { BuildMachine, sourceConfig } from "./machine";
import { explainObstacle, readContents, type MachineContents } from "./machine-contents";
import type { DockerImageOptions } from "./options";
import { platformOf } from "./source-image";
import { COMMENT, formatComment, PATTERN, PREFIX, readMarks } from "./stage-images";

/**
 * A stage of more than this is gone on from, so that what follows does not hold it a second time; for less, a new container
 * costs more than it saves.
 */
const REPEATED_SHARE = 0.005;
const MOST_REPEATED_BYTES = 4_000_000;
/** The engine takes no more than some 125; what the later steps and the image itself add must fit too. */
const MOST_LAYERS = 100;
/** Longer than any encoded secret that is looked for: one at the cut is found with the next piece. */
const OVERLAP_BYTES = 64 * 1024;

/** One build's view of the engine's stages. */
export class DockerStages implements StageKeeper {
  readonly build: BuildMachine;
  private found = new Map<string, { stageId: string; sizeBytes: number }>();
  private before: MachineContents | undefined;
  private baseId: string;
  private baseBytes: number;
  private isSaved = false;
  private mayBeLayer = false;
  private takesLayers = true;
  private drafts = 0;
  /** The image of files that the container was made of. */
  private draft: { id: string; reference: string } | undefined;
  /** Of the stage that was saved last. */
  private savedId = "";

  constructor(
    private readonly context: BuildContext,
    private readonly setup: { driver: DockerDriver; options: DockerImageOptions; owner: string; id: string },
    private readonly source: ImageDetails,
  ) {
    this.baseId = source.id;
    this.baseBytes = source.sizeBytes;
    this.build = new BuildMachine(context, setup, source, {
      onStart: async () => {
        if (this.isSaved) this.before = await this.readContents();
      },
      addLayer: (name, archive, signal) => this.addLayer(name, archive, signal),
    });
  }

  get startMs(): number {
    return this.build.communicator.startMs;
  }

  get isStage(): boolean {
    return this.draft !== undefined && this.build.communicator.isUntouched;
  }

  beginStep({ mayBeStage }: { mayBeStage: boolean }): void {
    this.mayBeLayer = mayBeStage;
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
    this.draft = undefined;
    this.baseBytes = stage?.sizeBytes ?? this.source.sizeBytes;
    this.baseId = stage?.stageId ?? this.source.id;
    await this.build.open(this.baseId);
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
    if (this.draft && this.isStage) {
      await driver.tagImage(this.draft.id, PREFIX + key, this.tag, signal);
      await driver.untagImage(this.draft.reference, signal);
      return;
    }
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

  /** Sends files as an image of one layer more, and goes on in a container of that: quicker than into a container and out again. */
  private async addLayer(name: string, archive: Archive, signal: AbortSignal): Promise<boolean> {
    const { driver, options } = this.setup;
    // One for each step, or many sources would be too many layers for the engine.
    if (!this.isSaved || !this.mayBeLayer || !this.takesLayers) return false;
    if (!fitsLayer(name, archive, options, this.source)) return false;
    const base = this.baseId === this.source.id ? this.source : await driver.findImage(this.baseId, signal);
    if (!base || base.layers.length >= MOST_LAYERS) return false;
    this.mayBeLayer = false;
    const reference = {
      repository: draftRepository(nameContainer(this.context.buildId)),
      tag: `${++this.drafts}`,
    };
    const ownBytes = archive.measureBytes();
    const comment = formatComment(ownBytes, this.source.id);
    const id = await this.tryLayer({ base, archive, ...reference, comment }, signal);
    if (id === undefined) return false;
    await this.build.open(id);
    this.draft = { id, reference: `${reference.repository}:${reference.tag}` };
    this.baseId = id;
    this.baseBytes = base.sizeBytes + ownBytes;
    return true;
  }

  private async tryLayer(options: LayerOptions, signal: AbortSignal): Promise<string | undefined> {
    let isSent = false;
    const stream = async function* (): AsyncGenerator<Uint8Array> {
      yield* options.archive.stream();
      isSent = true;
    };
    const archive = { measureBytes: () => options.archive.measureBytes(), stream };
    try {
      const id = await this.setup.driver.addLayer({ ...options, archive }, signal);
      this.takesLayers = id !== undefined;
      return id;
    } catch (error) {
      if (signal.aborted && isSent) deferUnload(this.context, this.setup.driver);
      if (!(error instanceof EngineError)) throw error;
      this.takesLayers = false;
      this.context.log.info(`files go into the container, since not into a layer: ${describeError(error)}`);
      return undefined;
    }
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
