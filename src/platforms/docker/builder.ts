import * as fs from "node:fs";
import * as path from "node:path";
import { createHash } from "node:crypto";
import { pipeline } from "node:stream/promises";
import type { BuildContext } from "../../core/context";
import type { Artifact, Builder, Provisioning } from "../../core/model";
import { DockerCommunicator } from "./communicator";
import type { ImageConfig, ImageDetails } from "./driver";
import { findSource, platformOf, type SourceOptions } from "./source-image";

/** Ends at once when it is killed, and waits for ever otherwise; needs only a shell. */
const SLEEPER = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 86400 & wait $!; done"];

export interface DockerArtifact extends Artifact {
  kind: "docker-image" | "docker-export" | "none";
  data: {
    sourceImageId: string;
    sizeBytes: number;
    platform: string;
  };
}

export interface DockerBuilderOptions extends SourceOptions {
  /** The name that the image is committed to. */
  repository: string;
  tag: string;
}

/** The build container's name: the journal holds it too, and both must agree before anything is swept. */
export function nameContainer(buildId: string): string {
  return `kiln-${buildId}`;
}

/** How many steps a build has beside its provisioners: finding the source, capturing the result. */
export const OWN_STEPS = 2;

export class DockerBuilder implements Builder<DockerArtifact> {
  constructor(private readonly setup: DockerBuilderOptions) {}

  async build(context: BuildContext, provisioning: Provisioning): Promise<DockerArtifact> {
    const { options } = this.setup;
    const source = await context.step(`source: ${options.image}`, () => findSource(context, this.setup));
    const result = deferUncommit(context, this.setup);
    const { container, remove } = await createContainer(context, this.setup, source);
    await provisioning.run(connect(context, this.setup, source, container));
    const artifact = await capture(context, this.setup, source, container);
    result.artifact = artifact;
    remove();
    return artifact;
  }
}

async function capture(
  context: BuildContext,
  setup: DockerBuilderOptions,
  source: ImageDetails,
  container: string,
): Promise<DockerArtifact> {
  const { discard, exportPath } = setup.options;
  if (discard) return { kind: "none", id: "", data: describe(source, 0) };
  if (exportPath)
    return context.step(`export: ${exportPath}`, () => exportFiles(context, setup, source, container));
  return context.step("commit", () => commit(context, setup, source, container));
}

async function createContainer(
  context: BuildContext,
  build: DockerBuilderOptions,
  source: ImageDetails,
): Promise<{ container: string; remove: () => void }> {
  const { driver, options } = build;
  const name = nameContainer(context.buildId);
  // By name, and before it is made: an answer that never comes must not leave a container behind.
  const remove = context.defer(
    `removing container ${name}`,
    (signal) => driver.removeContainer(name, signal),
    "unless-kept",
  );
  const details = {
    name,
    image: source.id,
    platform: options.platform,
    ...chooseCommand(source.config, options.changes ?? []),
    hostConfig: {
      Binds: options.volumes?.map((volume) =>
        volume.startsWith(".")
          ? path.resolve(context.cwd, volume.split(":")[0] ?? "") + volume.slice(volume.indexOf(":"))
          : volume,
      ),
      Devices: options.devices?.map(parseDevice),
      Tmpfs: options.tmpfs && Object.fromEntries(options.tmpfs.map((mount) => splitOnce(mount))),
      Privileged: options.privileged,
      CapAdd: options.capAdd,
      CapDrop: options.capDrop,
      NetworkMode: options.network,
    },
  };
  return { container: await driver.createContainer(details, context.signal), remove };
}

function parseDevice(device: string): Record<string, string> {
  const [onHost = "", inContainer = onHost, permissions = "rwm"] = device.split(":");
  return { PathOnHost: onHost, PathInContainer: inContainer, CgroupPermissions: permissions };
}

function splitOnce(mount: string): [string, string] {
  const at = mount.indexOf(":");
  return at < 0 ? [mount, ""] : [mount.slice(0, at), mount.slice(at + 1)];
}

function connect(
  context: BuildContext,
  build: DockerBuilderOptions,
  source: ImageDetails,
  container: string,
): DockerCommunicator {
  const { driver, options } = build;
  return new DockerCommunicator({
    driver,
    container,
    cwd: context.cwd,
    user: options.user ?? "",
    imageUser: source.config.User ?? "",
    environment: options.environment ?? {},
  });
}

/**
 * An engine that is cut off in a commit may go on with it: the undo comes after the container's, and what lands later still
 * has its claim. What has become an artifact is not this builder's any more.
 */
function deferUncommit(context: BuildContext, build: DockerBuilderOptions): { artifact?: DockerArtifact } {
  const { driver, repository, tag } = build;
  const result: { artifact?: DockerArtifact } = {};
  const undo = async (signal: AbortSignal): Promise<void> => {
    if (!result.artifact) await driver.untagImage(`${repository}:${tag}`, signal);
  };
  context.defer("taking back an unfinished commit", undo, "failure");
  return result;
}

async function commit(
  context: BuildContext,
  build: DockerBuilderOptions,
  source: ImageDetails,
  container: string,
): Promise<DockerArtifact> {
  const { driver, options, repository, tag } = build;
  const id = await driver.commitContainer(
    {
      container,
      repository,
      tag,
      config: sourceConfig(source.config, options.changes ?? []),
      changes: options.changes ?? [],
      author: options.author,
      comment: options.message,
    },
    context.signal,
  );
  const image = await driver.findImage(id, context.signal);
  return { kind: "docker-image", id, data: describe(source, image?.sizeBytes ?? 0) };
}

/**
 * A commit fills what the new configuration leaves empty from the container's: the sleeper must stand where the source has
 * something of its own. That is the command if there is one and no entrypoint (then none stays none), else the entrypoint.
 */
function chooseCommand(
  config: ImageConfig,
  changes: readonly string[],
): { entrypoint: string[] | undefined; command: string[] } {
  const hasCommand = isFilled(config["Cmd"]) && !changes.some((change) => /^\s*CMD\s+\[\s*\]/i.test(change));
  if (hasCommand && !isFilled(config["Entrypoint"])) return { entrypoint: undefined, command: SLEEPER };
  return { entrypoint: SLEEPER, command: [] };
}

function sourceConfig(config: ImageConfig, changes: readonly string[]): ImageConfig {
  if (chooseCommand(config, changes).entrypoint === undefined) return config;
  // An empty list instead of nothing: nothing would be filled up with the sleeper.
  return { ...config, Entrypoint: config["Entrypoint"] ?? [], Cmd: config["Cmd"] ?? [] };
}

function isFilled(list: unknown): boolean {
  return Array.isArray(list) && list.length > 0;
}

async function exportFiles(
  context: BuildContext,
  build: DockerBuilderOptions,
  source: ImageDetails,
  container: string,
): Promise<DockerArtifact> {
  const exportPath = build.options.exportPath ?? "";
  const target = path.resolve(context.cwd, exportPath);
  const draft = `${target}.${context.buildId}.draft`;
  await fs.promises.mkdir(path.dirname(target), { recursive: true });
  context.defer(`removing ${draft}`, () => fs.promises.rm(draft, { force: true }), "failure");
  const hash = createHash("sha256");
  let sizeBytes = 0;
  await pipeline(
    await build.driver.exportContainer(container, context.signal),
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        sizeBytes += chunk.length;
        yield chunk;
      }
    },
    fs.createWriteStream(draft),
    { signal: context.signal },
  );
  await fs.promises.rename(draft, target);
  return {
    kind: "docker-export",
    id: `sha256:${hash.digest("hex")}`,
    files: [exportPath],
    data: describe(source, sizeBytes),
  };
}

function describe(source: ImageDetails, sizeBytes: number): DockerArtifact["data"] {
  return { sourceImageId: source.id, sizeBytes, platform: platformOf(source) };
}
