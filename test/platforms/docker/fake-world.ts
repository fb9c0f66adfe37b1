import { createHash } from "node:crypto";
import type { CommandOptions, ImageConfig, ImageDetails } from "../../../src/platforms/docker/driver";
import { EngineError } from "../../../src/platforms/docker/engine-error";
import type { Files } from "./fake-files";

export interface FakeImage {
  id: string;
  parent: string;
  names: Set<string>;
  digests: Set<string>;
  config: ImageConfig;
  files: Files;
  comment: string;
  layers: string[];
}

export interface FakeContainer {
  id: string;
  name: string;
  image: string;
  config: ImageConfig;
  hostConfig: Record<string, unknown>;
  running: boolean;
  files: Files;
  /** What was run in it. */
  commands: CommandOptions[];
}

/** What an engine and its registries hold, with the real engine's rules for what goes and what stays. */
export class FakeWorld {
  readonly images = new Map<string, FakeImage>();
  readonly containers = new Map<string, FakeContainer>();
  /** What registries hold, by reference and by `repository@digest`. */
  readonly registry = new Map<string, FakeImage>();
  private made = 0;

  /** Adds an image that was there before the test. */
  addImage(reference: string, config: ImageConfig = {}, files: Files = new Map()): FakeImage {
    const image = this.makeImage("", config, new Map([["/tmp", "folder"], ...files]));
    image.names.add(reference);
    return image;
  }

  lookUp(reference: string): FakeImage | undefined {
    const name = withTag(reference);
    return (
      this.images.get(reference) ??
      [...this.images.values()].find((image) => image.names.has(name) || image.digests.has(reference))
    );
  }

  lookUpContainer(nameOrId: string): FakeContainer | undefined {
    const all = [...this.containers.values()];
    return this.containers.get(nameOrId) ?? all.find(({ name }) => name === nameOrId);
  }

  requireContainer(id: string, attempt: string): FakeContainer {
    const container = this.lookUpContainer(id);
    if (!container) throw new EngineError(`${attempt} ${id}`, `No such container: ${id}`, 404);
    return container;
  }

  makeImage(parent: string, config: ImageConfig, files: Files, comment = ""): FakeImage {
    const below = this.images.get(parent);
    const isSame = below !== undefined && describeFiles(below.files) === describeFiles(files);
    const names = { names: new Set<string>(), digests: new Set<string>() };
    const image = {
      id: this.makeId(),
      parent,
      ...names,
      config,
      files,
      comment,
      layers: below?.layers ?? [],
    };
    // What changes nothing makes no layer.
    if (!isSame) image.layers = [...image.layers, hash(describeFiles(files))];
    this.images.set(image.id, image);
    return image;
  }

  makeId(): string {
    return hash(String(++this.made));
  }

  /** A name points to one image. The one that it leaves stays, nameless: the engine calls it dangling. */
  moveName(image: FakeImage, name: string): void {
    for (const other of this.images.values()) other.names.delete(name);
    image.names.add(name);
  }

  /** An image goes with its last name, unless another was made from it; then its nameless parents go too. */
  removeUnnamed(id: string): void {
    const image = this.images.get(id);
    const isNeeded =
      [...this.images.values()].some(({ parent }) => parent === id) ||
      [...this.containers.values()].some((container) => container.image === id);
    if (!image || image.names.size > 0 || isNeeded) return;
    this.images.delete(id);
    this.removeUnnamed(image.parent);
  }
}

function hash(text: string): string {
  return `sha256:${createHash("sha256").update(text).digest("hex")}`;
}

function describeFiles(files: Files): string {
  return JSON.stringify([...files].map(([name, content]) => [name, content.toString("latin1")]).sort());
}

export function withTag(reference: string): string {
  return /[:@][^/]*$/.test(reference) ? reference : `${reference}:latest`;
}

export function describeImage(image: FakeImage): ImageDetails {
  const sizes = [...image.files.values()].map((content) => (Buffer.isBuffer(content) ? content.length : 0));
  return {
    id: image.id,
    os: "linux",
    architecture: "amd64",
    variant: "",
    parent: image.parent,
    comment: image.comment,
    layers: image.layers,
    sizeBytes: sizes.reduce((sum, size) => sum + size, 0),
    tags: [...image.names],
    digests: [...image.digests],
    config: image.config,
  };
}
