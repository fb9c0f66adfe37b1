import type { Claim } from "../../core/claims";
import type { Artifact, Builder } from "../../core/model";
import type { Outputs, Site } from "../../core/platform";
import { DockerBuilder, nameContainer, type DockerArtifact } from "./builder";
import { claimRepository, collect, dropClaim, listClaims, putClaim } from "./claim-tags";
import { formatClaimTag } from "../../core/claims";
import { findCredentials } from "./credentials";
import type { DockerDriver } from "./driver";
import type { DockerImageOptions, RegistryAuth } from "./options";
import { parseReference } from "./reference";
import { readPinned } from "./references";
import { deleteManifest, findManifest } from "./registry";
import { fitsPlatform, platformOf } from "./source-image";

const REGISTRY_DEADLINE_MS = 10_000;

/** One Docker engine, and the registries that its images are pushed to. */
export class DockerSite implements Site<DockerImageOptions> {
  constructor(
    readonly driver: DockerDriver,
    private readonly registryAuth: readonly RegistryAuth[],
  ) {}

  get address(): string {
    return this.driver.address;
  }

  readId(signal: AbortSignal): Promise<string> {
    return this.driver.readEngineId(signal);
  }

  listClaims(signal: AbortSignal): Promise<Claim[]> {
    return listClaims(this.driver, signal);
  }

  putClaim(claim: Claim, signal: AbortSignal): Promise<void> {
    return putClaim(this.driver, claim, signal);
  }

  dropClaim(claim: Claim, signal: AbortSignal): Promise<string | undefined> {
    return dropClaim(this.driver, claim, signal);
  }

  collect(signal: AbortSignal): Promise<void> {
    return collect(this.driver, signal);
  }

  createBuilder(
    options: DockerImageOptions,
    base: string | undefined,
    claim: Omit<Claim, "artifactId">,
  ): Builder {
    const { driver } = this;
    return new DockerBuilder({
      driver,
      options,
      baseDigest: base,
      repository: claimRepository(claim.owner),
      tag: formatClaimTag(claim),
    });
  }

  async findArtifact(
    artifactId: string,
    options: DockerImageOptions,
    signal: AbortSignal,
  ): Promise<DockerArtifact | undefined> {
    const image = await this.driver.findImage(artifactId, signal);
    if (!image || !fitsPlatform(image, options.platform)) return undefined;
    const { id, parent, sizeBytes } = image;
    return {
      kind: "docker-image",
      id,
      data: { sourceImageId: parent, sizeBytes, platform: platformOf(image) },
    };
  }

  predictFound(artifactId: string): Outputs {
    return { imageId: artifactId, artifactId };
  }

  async restore(artifact: Artifact, results: readonly Artifact[], signal: AbortSignal): Promise<boolean> {
    if (artifact.kind !== "docker-image" || (await this.driver.findImage(artifact.id, signal))) return true;
    for (const pinned of listPinned(results)) {
      await this.driver.pullImage(pinned, artifact.data["platform"] as string, () => undefined, signal);
      if ((await this.driver.findImage(pinned, signal))?.id === artifact.id) return true;
    }
    return false;
  }

  async locate(
    artifact: Artifact,
    results: readonly Artifact[],
    signal: AbortSignal,
  ): Promise<"here" | "elsewhere" | "gone"> {
    if (artifact.kind !== "docker-image") return "here";
    if (await this.driver.findImage(artifact.id, signal)) return "here";
    for (const pinned of listPinned(results)) {
      if (await this.isInRegistry(pinned, signal)) return "elsewhere";
    }
    return "gone";
  }

  private async isInRegistry(pinned: string, signal: AbortSignal): Promise<boolean> {
    const reference = parseReference(pinned);
    const credentials = await findCredentials(reference.domain, { explicit: this.registryAuth });
    return (
      (await findManifest(reference, { credentials, signal, timeoutMs: REGISTRY_DEADLINE_MS })) !== undefined
    );
  }

  async undo(
    made: string,
    artifact: Artifact,
    options: { deleteRemote: boolean; signal: AbortSignal },
  ): Promise<void> {
    const [, scheme, rest] = /^([\w-]+):(.*)$/s.exec(made) ?? [];
    if (rest === undefined)
      throw new Error(`Undoing "${made}": this version does not know what that is. Update pulumi-kiln`);
    if (scheme === "docker-tag") return this.untag(rest, artifact, options.signal);
    if (scheme === "docker-push")
      return options.deleteRemote ? this.deleteRemote(rest, options.signal) : undefined;
    throw new Error(`Undoing "${made}": this version does not know "${scheme}". Update pulumi-kiln`);
  }

  /** A name that points to another image by now is that image's. */
  private async untag(reference: string, artifact: Artifact, signal: AbortSignal): Promise<void> {
    const image = await this.driver.findImage(reference, signal);
    if (image?.id === artifact.id) await this.driver.untagImage(reference, signal);
  }

  private async deleteRemote(pinnedTag: string, signal: AbortSignal): Promise<void> {
    const reference = parseReference(pinnedTag);
    const credentials = await findCredentials(reference.domain, { explicit: this.registryAuth });
    await deleteManifest(
      { ...reference, tag: undefined },
      { credentials, signal, timeoutMs: REGISTRY_DEADLINE_MS },
    );
  }

  nameMachine(buildId: string): string {
    return nameContainer(buildId);
  }

  async removeMachine(name: string, signal: AbortSignal): Promise<void> {
    const container = await this.driver.findContainer(name, signal);
    if (container?.name === name) await this.driver.removeContainer(container.id, signal);
  }

  async explainKept(name: string, signal: AbortSignal): Promise<string | undefined> {
    if (!(await this.driver.findContainer(name, signal))) return undefined;
    const docker = `docker -H ${this.address}`;
    return `The build's container is kept for 24 hours. A shell in it: ${docker} start ${name} && ${docker} exec -it ${name} sh. To remove it: ${docker} rm -f ${name}`;
  }
}

function listPinned(results: readonly Artifact[]): string[] {
  return [...new Set(results.flatMap(readPinned))];
}
