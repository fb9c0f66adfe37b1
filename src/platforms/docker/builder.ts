import * as fs from "node:fs";
import * as path from "node:path";
import { createHash } from "node:crypto";
import { pipeline } from "node:stream/promises";
import type { BuildContext } from "../../core/context";
import type { Artifact, Builder, Provisioning } from "../../core/model";
import type { ImageDetails } from "./driver";
import { sourceConfig } from "./machine";
import { guardAdopted } from "./adopted";
import { findSource, platformOf, type SourceOptions } from "./source-image";
import { DockerStages } from "./stages";

export interface DockerArtifact extends Artifact {
  kind: "docker-image" | "docker-export" | "none";
  data: {
    sourceImageId: string;
    sizeBytes: number;
    platform: string;
    /** Of an adopted image: names that it had already, and keeps. */
    namesBefore?: string[];
  };
}

export interface DockerBuilderOptions extends SourceOptions {
  /** The name that the image is committed to. */
  repository: string;
  tag: string;
  /** Whose stages it makes, and of which create. */
  owner: string;
  id: string;
}

export class DockerBuilder implements Builder<DockerArtifact> {
  constructor(private readonly setup: DockerBuilderOptions) {}

  async build(context: BuildContext, provisioning: Provisioning): Promise<DockerArtifact> {
    const { options } = this.setup;
    const source = await context.step(`source: ${options.image}`, () => findSource(context, this.setup));
    // Without a name of its own it would go together with what is built on it.
    if (source.tags.length === 0 && source.digests.length === 0)
      await guardAdopted(this.setup.driver, source.id, context.signal);
    const result = deferUncommit(context, this.setup);
    const stages = new DockerStages(context, this.setup, source);
    await provisioning.run(stages.build.communicator, stages);
    const artifact = await capture(context, this.setup, source, stages.build.container);
    result.artifact = artifact;
    stages.build.remove();
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
