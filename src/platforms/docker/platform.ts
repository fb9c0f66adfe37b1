/**
 * Docker images. Needs a Docker engine (or Podman's socket) that can be reached; makes one container per build, which it
 * removes; leaves an image, its claim (a tag `kiln.local/…`) and what post-processors make.
 */
import type { Artifact, Json, UnitOptions } from "../../core/model";
import type { Outputs, Platform } from "../../core/platform";
import { containsUnknown } from "../../core/schema";
import { findCredentials } from "./credentials";
import { findEndpoint } from "./endpoint";
import { connectEngine } from "./engine";
import { EngineDriver } from "./engine-driver";
import { localizePaths } from "./local-paths";
import { ARTIFACT_OUTPUTS, CREDENTIALS, OUTPUTS } from "./names";
import { dockerImageSchema, type DockerImageOptions } from "./options";
import { push, save, tag } from "./post-processors";
import { formatReference, parseReference } from "./reference";
import { readPinned, readReferences } from "./references";
import { findManifest } from "./registry";
import { DockerSite } from "./site";
import { listReferences, type TagOptions } from "./tag";

/** How many steps a build has beside its provisioners: finding the source, capturing the result. */
const OWN_STEPS = 2;

export const platform: Platform<DockerImageOptions> = {
  type: "docker:Image",
  name: "docker",
  schema: dockerImageSchema,
  postProcessors: [tag, push, save],
  credentialOptions: CREDENTIALS,
  outputNames: OUTPUTS,
  artifactOutputs: ARTIFACT_OUTPUTS,
  countOwnSteps: () => OWN_STEPS,
  identify,
  localize: localizePaths,
  describeBase,
  resolveBase,
  async connect(options, { signal, timeoutMs }) {
    const endpoint = findEndpoint({ host: options.host });
    const registryAuth = options.registryAuth ?? [];
    return new DockerSite(
      new EngineDriver(await connectEngine(endpoint, { signal, timeoutMs }), registryAuth),
      registryAuth,
    );
  },
  describeOutputs,
  predictOutputs(options) {
    const references = listTagged(options);
    const units: UnitOptions[] = (options.postProcessors ?? []).flat();
    // A push tells the digest only when it is done.
    const unpushed: Outputs = units.some(({ type }) => type === push.unitType)
      ? {}
      : { digest: "", pinnedReference: "" };
    return { references, reference: references[0] ?? "", ...unpushed };
  },
  listFiles: (options) => (options.exportPath === undefined ? [] : [options.exportPath]),
  listReplacing: (before, after) => ((before.host ?? "") === (after.host ?? "") ? [] : ["host"]),
  isClaimed: (artifact) => artifact.kind === "docker-image",
  isRemote: (made) => made.startsWith("docker-push:"),
  updateOptions: ["deleteFromRegistry"],
};

function identify(options: DockerImageOptions): { [key: string]: Json | undefined } {
  const shaping = [
    "platform", "user", "environment", "volumes", "devices", "tmpfs", "privileged", "capAdd", "capDrop", "network",
    "changes", "author", "message", "exportPath", "discard",
  ] as const; // prettier-ignore
  return {
    image: normalizeSource(options.image),
    ...Object.fromEntries(shaping.map((name) => [name, options[name] as Json | undefined])),
  };
}

/** One image, one spelling: `python` is `docker.io/library/python:latest`. */
function normalizeSource(image: string): string {
  if (/^(sha256:)?[0-9a-f]{64}$/.test(image)) return image;
  const reference = parseReference(image);
  return formatReference(reference.tag || reference.digest ? reference : { ...reference, tag: "latest" });
}

/** Only `pull: "always"` follows its source: with the others a moved tag is no change. */
function describeBase(options: DockerImageOptions): { host: string; dependsOn: unknown[] } | undefined {
  const { image, platform, pull, registryAuth } = options;
  if (pull !== "always" && !containsUnknown(pull)) return undefined;
  return {
    host: parseReference(normalizeSource(image)).domain,
    dependsOn: [pull, image, platform, registryAuth],
  };
}

async function resolveBase(options: DockerImageOptions, signal: AbortSignal): Promise<string | undefined> {
  if (options.pull !== "always") return undefined;
  const reference = parseReference(normalizeSource(options.image));
  const credentials = await findCredentials(reference.domain, { explicit: options.registryAuth });
  const found = await findManifest(reference, { credentials, signal, platform: options.platform });
  if (!found) throw new Error(`Looking up ${options.image}: its registry does not have it`);
  return found.digest;
}

function listTagged(options: DockerImageOptions): string[] {
  const units: UnitOptions[] = (options.postProcessors ?? []).flat();
  const tags = units.filter(({ type }) => type === tag.unitType);
  return [...new Set(tags.flatMap((unit) => listReferences(unit as unknown as TagOptions)))];
}

function describeOutputs(artifact: Artifact, results: readonly Artifact[]): Outputs {
  const references = [...new Set(results.flatMap(readReferences))];
  const pinned = [...new Set(results.flatMap(readPinned))];
  return {
    imageId: artifact.kind === "docker-image" ? artifact.id : "",
    reference: references[0] ?? "",
    references,
    digest: pinned[0]?.split("@")[1] ?? "",
    pinnedReference: pinned[0] ?? "",
    sourceImageId: artifact.data["sourceImageId"] ?? "",
    sizeBytes: artifact.data["sizeBytes"] ?? 0,
  };
}
