import type { Readable } from "node:stream";
import type { RegistryAuth } from "./options";

/** An image's configuration as the engine tells it; passed back unchanged on commit. */
export type ImageConfig = Record<string, unknown> & { User?: string; Env?: string[] | null };

export interface ImageDetails {
  id: string;
  os: string;
  architecture: string;
  variant: string;
  /** Id of the image that it was committed on, "" if the engine does not tell. */
  parent: string;
  /** What was said of it when it was committed; children do not inherit it. */
  comment: string;
  /** Digests of the layers' contents, the lowest first: the same on any engine. */
  layers: string[];
  sizeBytes: number;
  tags: string[];
  /** `repository@sha256:…` for each registry that it was pulled from or pushed to. */
  digests: string[];
  config: ImageConfig;
}

/** A line of the list of images. */
export interface ListedImage {
  imageId: string;
  tags: string[];
  parent: string;
  sizeBytes: number;
  createdMs: number;
}

export interface ContainerOptions {
  name: string;
  image: string;
  platform?: string;
  /** Undefined: the image's own. */
  entrypoint: string[] | undefined;
  command: string[];
  hostConfig: Record<string, unknown>;
}

export interface ContainerDetails {
  id: string;
  name: string;
  running: boolean;
  exitCode: number;
}

export interface CommandOptions {
  argv: string[];
  user?: string;
  environment: string[];
  stdin?: Buffer | string;
  onOutput?: (chunk: Buffer) => void;
  signal: AbortSignal;
}

export interface PathDetails {
  name: string;
  isFolder: boolean;
  linkTarget: string;
}

/** Why an untag did not happen. */
export interface InUse {
  inUseBy: string;
}

export interface CommitOptions {
  container: string;
  repository: string;
  tag: string;
  config: ImageConfig;
  changes: string[];
  author?: string;
  comment?: string;
  /** False: nothing runs in it that could change its files meanwhile. */
  pause?: boolean;
}

export interface LayerOptions {
  /** The image below; the new one has its configuration. */
  base: ImageDetails;
  /** Files from the root on. Each piece of it is sent before the next is asked for; it may be streamed again. */
  archive: { measureBytes(): number; stream(): AsyncIterable<Uint8Array> };
  repository: string;
  tag: string;
  comment: string;
}

export type OnProgress = (text: string) => void;

/** The calls about images. Not found is a value; everything else that fails throws. */
export interface ImageDriver {
  /** For messages and for the journal, e.g. `unix:///var/run/docker.sock`. */
  readonly address: string;
  /** The engine's own id: the same engine may be reached by several addresses. */
  readEngineId(signal: AbortSignal): Promise<string>;
  findImage(reference: string, signal: AbortSignal): Promise<ImageDetails | undefined>;
  /** Pairs of image id and tag, for tags that fit the pattern. */
  listTags(pattern: string, signal: AbortSignal): Promise<{ imageId: string; tag: string }[]>;
  /** Images that have a tag which fits the pattern. */
  listImages(pattern: string, signal: AbortSignal): Promise<ListedImage[]>;
  pullImage(
    reference: string,
    platform: string | undefined,
    onProgress: OnProgress,
    signal: AbortSignal,
  ): Promise<void>;
  tagImage(image: string, repository: string, tag: string, signal: AbortSignal): Promise<void>;
  /** Removes one name, never by image id and never forced: the image goes with its last name, unless something uses it. */
  untagImage(reference: string, signal: AbortSignal): Promise<"untagged" | "missing" | InUse>;
  /** The digest that the registry gave. */
  pushImage(repository: string, tag: string, onProgress: OnProgress, signal: AbortSignal): Promise<string>;
  saveImages(references: string[], signal: AbortSignal): Promise<Readable>;
  /** The id of an image that is another one with one more layer, made without a container, so without a parent; undefined where the engine cannot. */
  addLayer(options: LayerOptions, signal: AbortSignal): Promise<string | undefined>;
}

/** The calls to a Docker engine that the platform makes. */
export interface DockerDriver extends ImageDriver {
  /** The same engine, by the same connection: what pulls and pushes does so with these. */
  withCredentials(registryAuth: readonly RegistryAuth[]): DockerDriver;
  createContainer(options: ContainerOptions, signal: AbortSignal): Promise<string>;
  startContainer(id: string, signal: AbortSignal): Promise<void>;
  findContainer(nameOrId: string, signal: AbortSignal): Promise<ContainerDetails | undefined>;
  /** How much its files differ from its image's. */
  measureContainer(id: string, signal: AbortSignal): Promise<number>;
  /** With its anonymous volumes; already gone is success. */
  removeContainer(id: string, signal: AbortSignal): Promise<void>;
  runCommand(container: string, options: CommandOptions): Promise<number>;
  findPath(container: string, path: string, signal: AbortSignal): Promise<PathDetails | undefined>;
  /** Each piece of the archive is sent before the next is asked for. */
  putArchive(
    container: string,
    folder: string,
    archive: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void>;
  getArchive(container: string, path: string, signal: AbortSignal): Promise<Readable>;
  exportContainer(container: string, signal: AbortSignal): Promise<Readable>;
  commitContainer(options: CommitOptions, signal: AbortSignal): Promise<string>;
}
