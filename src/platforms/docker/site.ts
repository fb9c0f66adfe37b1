import type { Claim } from "../../core/claims";
import type { BuildContext } from "../../core/context";
import type { Artifact, Builder } from "../../core/model";
import type { Outputs, Site, UndoOptions } from "../../core/platform";
import { sleep } from "../../core/retry";
import type { StageMark } from "../../core/stage-claims";
import type { DockerArtifact } from "./builder";
import { guardAdopted, releaseAdopted } from "./adopted";
import { claimRepository, collect, isClaimReference, dropClaim, listClaims, putClaim } from "./claim-tags";
import { formatClaimTag } from "../../core/claims";
import { findCredentials } from "./credentials";
import { collectDrafts, dropDrafts } from "./drafts";
import type { ContainerDetails, DockerDriver } from "./driver";
import { nameContainer, nameContainers } from "./container-name";
import type { DockerImageOptions, RegistryAuth } from "./options";
import { parseReference } from "./reference";
import { readPinned } from "./references";
import { deleteManifest, findManifest } from "./registry";
import { findSource, fitsPlatform, platformOf } from "./source-image";
import { dropStage, findSourceId, listStages } from "./stage-images";

const REGISTRY_DEADLINE_MS = 10_000;
const LEAVING_MS = 10_000;
const POLL_MS = 100;

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

  withCredentials({ registryAuth }: Partial<DockerImageOptions>): DockerSite {
    // In a preview it may not be known yet.
    const known = Array.isArray(registryAuth) ? registryAuth : [];
    return new DockerSite(this.driver.withCredentials(known), known);
  }

  listClaims(signal: AbortSignal): Promise<Claim[]> {
    return listClaims(this.driver, signal);
  }

  putClaim(claim: Claim, signal: AbortSignal): Promise<void> {
    return putClaim(this.driver, claim, signal);
  }

  async dropClaim(claim: Claim, signal: AbortSignal): Promise<string | undefined> {
    const usedBy = await dropClaim(this.driver, claim, signal);
    await releaseAdopted(this.driver, claim.artifactId, signal);
    return usedBy;
  }

  async collect(signal: AbortSignal): Promise<void> {
    await collect(this.driver, signal);
    await collectDrafts(this.driver, signal);
  }

  createBuilder(
    options: DockerImageOptions,
    base: string | undefined,
    claim: Omit<Claim, "artifactId">,
  ): Builder {
    const { driver } = this;
    // Not for a preview.
    const { DockerBuilder } = require("./builder") as typeof import("./builder");
    return new DockerBuilder({
      driver,
      options,
      baseDigest: base,
      repository: claimRepository(claim.owner),
      tag: formatClaimTag(claim),
      owner: claim.owner,
      id: claim.id,
    });
  }

  async findArtifact(
    artifactId: string,
    options: DockerImageOptions,
    signal: AbortSignal,
  ): Promise<DockerArtifact | undefined> {
    const image = await this.driver.findImage(artifactId, signal);
    if (!image || !fitsPlatform(image, options.platform)) return undefined;
    const { id, sizeBytes } = image;
    const sourceImageId = await findSourceId(this.driver, image, signal);
    return {
      kind: "docker-image",
      id,
      data: { sourceImageId, sizeBytes, platform: platformOf(image) },
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

  async undo(made: string, artifact: Artifact, options: UndoOptions): Promise<void> {
    const [, scheme, rest] = /^([\w-]+):(.*)$/s.exec(made) ?? [];
    if (rest === undefined)
      throw new Error(`Undoing "${made}": this version does not know what that is. Update pulumi-kiln`);
    if (scheme === "docker-tag") return this.untag(rest, artifact, options);
    if (scheme === "docker-push")
      return options.deleteRemote ? this.deleteRemote(rest, options.signal) : undefined;
    throw new Error(`Undoing "${made}": this version does not know "${scheme}". Update pulumi-kiln`);
  }

  async findChange(made: string, artifact: Artifact, signal: AbortSignal): Promise<string | undefined> {
    const [, scheme, rest = ""] = /^([\w-]+):(.*)$/s.exec(made) ?? [];
    if (scheme === "docker-push" && !(await this.isInRegistry(rest, signal)))
      return `${rest} is not in its registry any more`;
    // A digest is a name that the engine gives, and forgets, by itself.
    if (scheme !== "docker-tag" || rest.includes("@")) return undefined;
    const image = await this.driver.findImage(rest, signal);
    if (!image) return `the tag ${rest} does not exist any more`;
    return image.id === artifact.id ? undefined : `the tag ${rest} points to ${image.id.slice(0, 19)}`;
  }

  async takeOver(
    reference: string,
    options: DockerImageOptions,
    context: BuildContext,
  ): Promise<DockerArtifact> {
    const { driver } = this;
    const { id, tags } = await findSource(context, { driver, options: { ...options, image: reference } });
    // One that was built here goes with its last claim, whoever's that is.
    if (!tags.some((tag) => isClaimReference(tag))) await guardAdopted(driver, id, context.signal);
    const artifact = await this.findArtifact(id, options, context.signal);
    if (!artifact) throw new Error(`Adopting ${reference}: somebody removed it meanwhile`);
    return { ...artifact, data: { ...artifact.data, namesBefore: tags } };
  }

  /** A name that points to another image by now is that image's. */
  private async untag(
    reference: string,
    artifact: Artifact,
    { unwanted, signal }: UndoOptions,
  ): Promise<void> {
    const namesBefore = artifact.data["namesBefore"];
    if (Array.isArray(namesBefore) && namesBefore.includes(reference)) return;
    const image = await this.driver.findImage(reference, signal);
    if (image?.id !== artifact.id) return;
    const result = await this.driver.untagImage(reference, signal);
    if (typeof result === "string" || !unwanted) return;
    // The last name of an image that something uses: by the mark a later build or delete finds it.
    await putClaim(this.driver, { ...unwanted, state: "gone", artifactId: artifact.id }, signal);
    await this.driver.untagImage(reference, signal);
  }

  private async deleteRemote(pinnedTag: string, signal: AbortSignal): Promise<void> {
    const reference = parseReference(pinnedTag);
    const credentials = await findCredentials(reference.domain, { explicit: this.registryAuth });
    await deleteManifest(
      { ...reference, tag: undefined },
      { credentials, signal, timeoutMs: REGISTRY_DEADLINE_MS },
    );
  }

  listStages(signal: AbortSignal): Promise<StageMark[]> {
    return listStages(this.driver, signal);
  }

  dropStage(mark: StageMark, signal: AbortSignal): Promise<void> {
    return dropStage(this.driver, mark, signal);
  }

  nameMachine(buildId: string): string {
    return nameContainer(buildId);
  }

  async removeMachine(machine: string, signal: AbortSignal): Promise<void> {
    for (const name of nameContainers(machine)) {
      const container = await this.driver.findContainer(name, signal);
      if (container?.name === name) await this.driver.removeContainer(container.id, signal);
    }
    await dropDrafts(this.driver, machine, signal);
  }

  async explainKept(machine: string, signal: AbortSignal): Promise<string | undefined> {
    let found = await this.findMachines(machine, signal);
    // One that was gone on from is on its way out.
    for (const until = Date.now() + LEAVING_MS; found.length > 1 && Date.now() < until;) {
      await sleep(POLL_MS, signal);
      found = await this.findMachines(machine, signal);
    }
    const name = (found.find((container) => container.running) ?? found[0])?.name;
    if (name === undefined) return undefined;
    const docker = `docker -H ${this.address}`;
    return `The build's container is kept for 24 hours. A shell in it: ${docker} start ${name} && ${docker} exec -it ${name} sh. To remove it: ${docker} rm -f ${name}`;
  }

  private async findMachines(machine: string, signal: AbortSignal): Promise<ContainerDetails[]> {
    const names = nameContainers(machine);
    const found = await Promise.all(names.map((name) => this.driver.findContainer(name, signal)));
    return found.filter((container) => container !== undefined);
  }
}

function listPinned(results: readonly Artifact[]): string[] {
  return [...new Set(results.flatMap(readPinned))];
}
