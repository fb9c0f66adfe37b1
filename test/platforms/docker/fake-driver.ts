import { createHash } from "node:crypto";
import { posix } from "node:path";
import { Readable } from "node:stream";
import { throwIfAborted } from "../../../src/core/retry";
import type {
  CommandOptions,
  CommitOptions,
  ContainerDetails,
  ContainerOptions,
  DockerDriver,
  ImageDetails,
  InUse,
  LayerOptions,
  ListedImage,
  OnProgress,
  PathDetails,
} from "../../../src/platforms/docker/driver";
import { EngineError } from "../../../src/platforms/docker/engine-error";
import { packFiles, unpackFiles } from "./fake-files";
import { describeImage, FakeWorld, withTag, type FakeContainer } from "./fake-world";
import { applyChanges, mergeConfig } from "./fake-config";

/** What a command does; undefined: this program does not know it. */
export type Program = (container: FakeContainer, options: CommandOptions) => number | undefined;

/** An engine whose world is in maps: tests look at the world, not at the calls. */
export class FakeDockerDriver implements DockerDriver {
  readonly address = "fake://engine";

  /** Beside `cat FILE` and `/bin/sh -c "exit N"`, which all containers know. */
  program: Program = () => undefined;

  constructor(
    readonly world = new FakeWorld(),
    private readonly engineId = "FAKE",
  ) {}

  withCredentials(): DockerDriver {
    return this; // its registries are open to all
  }

  async readEngineId(signal: AbortSignal): Promise<string> {
    return answer(signal, () => this.engineId);
  }

  async findImage(reference: string, signal: AbortSignal): Promise<ImageDetails | undefined> {
    return answer(signal, () => {
      const image = this.world.lookUp(reference);
      return image && describeImage(image);
    });
  }

  async listTags(pattern: string, signal: AbortSignal): Promise<{ imageId: string; tag: string }[]> {
    return answer(signal, () => {
      const matcher = new RegExp(
        `^${pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", "[^/]*")}$`,
      );
      return [...this.world.images.values()].flatMap((image) =>
        [...image.names]
          .filter((tag) => matcher.test(tag) || matcher.test(tag.replace(/:[^:/]*$/, "")))
          .map((tag) => ({ imageId: image.id, tag })),
      );
    });
  }

  async listImages(pattern: string, signal: AbortSignal): Promise<ListedImage[]> {
    const tags = await this.listTags(pattern, signal);
    return [...this.world.images.values()].flatMap((image) => {
      const own = tags.filter(({ imageId }) => imageId === image.id).map(({ tag }) => tag);
      if (own.length === 0) return [];
      const { parent, sizeBytes } = describeImage(image);
      return [{ imageId: image.id, tags: own, parent, sizeBytes, createdMs: Date.now() }];
    });
  }

  async pullImage(
    reference: string,
    _platform: string | undefined,
    _onProgress: OnProgress,
    signal: AbortSignal,
  ): Promise<void> {
    return answer(signal, () => {
      const pulled = this.world.registry.get(withTag(reference));
      if (!pulled) throw new EngineError(`Pulling ${reference}`, "manifest unknown", 404);
      const image = this.world.images.get(pulled.id) ?? { ...pulled, names: new Set(), digests: new Set() };
      this.world.images.set(image.id, image);
      if (reference.includes("@")) image.digests.add(reference);
      else this.world.moveName(image, withTag(reference));
    });
  }

  async tagImage(image: string, repository: string, tag: string, signal: AbortSignal): Promise<void> {
    return answer(signal, () => {
      const found = this.world.lookUp(image);
      if (!found) throw new EngineError(`Tagging ${image}`, `No such image: ${image}`, 404);
      this.world.moveName(found, `${repository}:${tag}`);
    });
  }

  async untagImage(reference: string, signal: AbortSignal): Promise<"untagged" | "missing" | InUse> {
    return answer(signal, () => {
      const image = this.world.lookUp(reference);
      if (!image) return "missing";
      const user = [...this.world.containers.values()].find((container) => container.image === image.id);
      if (image.names.size === 1 && user) return { inUseBy: `container ${user.name}` };
      image.names.delete(withTag(reference));
      this.world.removeUnnamed(image.id);
      return "untagged";
    });
  }

  async pushImage(
    repository: string,
    tag: string,
    _onProgress: OnProgress,
    signal: AbortSignal,
  ): Promise<string> {
    return answer(signal, () => {
      const image = this.world.lookUp(`${repository}:${tag}`);
      if (!image) throw new EngineError(`Pushing ${repository}:${tag}`, "it does not exist locally", 404);
      const digest = `sha256:${createHash("sha256").update(`manifest of ${image.id}`).digest("hex")}`;
      image.digests.add(`${repository}@${digest}`);
      this.world.registry.set(`${repository}:${tag}`, image).set(`${repository}@${digest}`, image);
      return digest;
    });
  }

  async saveImages(references: string[], signal: AbortSignal): Promise<Readable> {
    return answer(signal, () => {
      const found = references.map((reference) => this.world.lookUp(reference));
      if (found.includes(undefined)) throw new EngineError("Saving", "No such image", 404);
      return Readable.from([Buffer.from(found.map((image) => image?.id).join("\n"))]);
    });
  }

  async addLayer(options: LayerOptions, signal: AbortSignal): Promise<string | undefined> {
    const unpacked = await unpackFiles(options.archive.stream());
    return answer(signal, () => {
      const base = this.world.images.get(options.base.id);
      if (!base) throw new EngineError("Sending files as a layer", "layer does not exist", 500);
      const files = new Map([
        ...base.files,
        ...[...unpacked].map(([name, content]) => [`/${name}`, content] as const),
      ]);
      const image = this.world.makeImage(base.id, base.config, files, options.comment);
      image.parent = "";
      this.world.moveName(image, `${options.repository}:${options.tag}`);
      return image.id;
    });
  }

  async createContainer(options: ContainerOptions, signal: AbortSignal): Promise<string> {
    return answer(signal, () => {
      const attempt = `Creating a container from ${options.image}`;
      const image = this.world.lookUp(options.image);
      if (!image) throw new EngineError(attempt, `No such image: ${options.image}`, 404);
      if (this.world.lookUpContainer(options.name)) throw new EngineError(attempt, "the name is in use", 409);
      const own = { Entrypoint: options.entrypoint, Cmd: options.command };
      const container: FakeContainer = {
        id: this.world.makeId().slice("sha256:".length),
        name: options.name,
        image: image.id,
        config: mergeConfig(own, image.config),
        hostConfig: options.hostConfig,
        running: false,
        files: new Map(image.files),
        commands: [],
      };
      this.world.containers.set(container.id, container);
      return container.id;
    });
  }

  async startContainer(id: string, signal: AbortSignal): Promise<void> {
    return answer(signal, () => void (this.world.requireContainer(id, "Starting").running = true));
  }

  async findContainer(nameOrId: string, signal: AbortSignal): Promise<ContainerDetails | undefined> {
    return answer(signal, () => {
      const container = this.world.lookUpContainer(nameOrId);
      return container && { id: container.id, name: container.name, running: container.running, exitCode: 0 };
    });
  }

  async measureContainer(id: string, signal: AbortSignal): Promise<number> {
    return answer(signal, () => this.world.requireContainer(id, "Measuring").files.size);
  }

  async removeContainer(id: string, signal: AbortSignal): Promise<void> {
    return answer(signal, () => {
      const container = this.world.lookUpContainer(id);
      if (container) this.world.containers.delete(container.id);
    });
  }

  async runCommand(id: string, options: CommandOptions): Promise<number> {
    return answer(options.signal, () => {
      const container = this.world.requireContainer(id, "Running a command in");
      if (!container.running) throw new EngineError("Running a command", "the container is not running", 409);
      container.commands.push(options);
      const [name, ...rest] = options.argv;
      const code = this.program(container, options);
      if (code !== undefined) return code;
      const exit = /^exit (\d+)$/.exec(rest[1] ?? "")?.[1];
      if (exit !== undefined) return Number(exit);
      if (name !== "cat") return 0;
      const content = container.files.get(rest[0] ?? "");
      if (!Buffer.isBuffer(content)) return 1;
      options.onOutput?.(content);
      return 0;
    });
  }

  async findPath(id: string, path: string, signal: AbortSignal): Promise<PathDetails | undefined> {
    return answer(signal, () => {
      const { files } = this.world.requireContainer(id, "Looking into");
      const found = path === "/" ? "folder" : files.get(path);
      return found && { name: posix.basename(path), isFolder: found === "folder", linkTarget: "" };
    });
  }

  async putArchive(
    id: string,
    folder: string,
    archive: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const unpacked = await unpackFiles(archive);
    return answer(signal, () => {
      const { files } = this.world.requireContainer(id, "Sending files to");
      if (folder !== "/" && files.get(folder) !== "folder")
        throw new EngineError(`Sending files to ${folder}`, "Could not find the folder", 404);
      for (const [name, content] of unpacked) files.set(posix.join(folder, name), content);
    });
  }

  async getArchive(id: string, path: string, signal: AbortSignal): Promise<Readable> {
    return answer(signal, () => {
      const { files } = this.world.requireContainer(id, "Fetching from");
      const found = [...files].filter(([name]) => name === path || name.startsWith(`${path}/`));
      if (found.length === 0) throw new EngineError(`Fetching ${path}`, "Could not find the file", 404);
      const base = posix.dirname(path);
      return packFiles(new Map(found.map(([name, content]) => [posix.relative(base, name), content])));
    });
  }

  async exportContainer(id: string, signal: AbortSignal): Promise<Readable> {
    return answer(signal, () => {
      const { files } = this.world.requireContainer(id, "Exporting");
      return packFiles(new Map([...files].map(([name, content]) => [name.slice(1), content])));
    });
  }

  async commitContainer(options: CommitOptions, signal: AbortSignal): Promise<string> {
    return answer(signal, () => {
      const container = this.world.requireContainer(options.container, "Committing");
      const config = mergeConfig(applyChanges(options.config, options.changes), container.config);
      const files = new Map(container.files);
      const image = this.world.makeImage(container.image, config, files, options.comment);
      this.world.moveName(image, `${options.repository}:${options.tag}`);
      return image.id;
    });
  }
}

/** The engine does what it was asked even if nobody waits for the answer any more. */
async function answer<T>(signal: AbortSignal, work: () => T): Promise<T> {
  throwIfAborted(signal);
  const result = work();
  await Promise.resolve();
  throwIfAborted(signal);
  return result;
}
