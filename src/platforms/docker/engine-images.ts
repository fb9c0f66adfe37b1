import { Readable } from "node:stream";
import { retryFor } from "../../core/retry";
import { encodeRegistryAuth, findCredentials } from "./credentials";
import type {
  ContainerDetails,
  ImageDetails,
  ImageDriver,
  InUse,
  LayerOptions,
  ListedImage,
  OnProgress,
} from "./driver";
import type { Engine } from "./engine";
import { EngineError } from "./engine-error";
import type { EngineReply } from "./engine-request";
import { addLayer, takesLayers } from "./engine-layers";
import { toImageDetails, type ImageAnswer, type InfoAnswer, type ListAnswer } from "./image-answers";
import { LayerProgress } from "./layer-progress";
import type { RegistryAuth } from "./options";
import { formatReference, parseReference } from "./reference";

/** The answers to a look-up that are outcomes. */
export const FOUND = { 200: "found", 404: "missing" } as const;

const MEETING_MS = 5000;
const MEETING_INTERVAL_MS = 100;

/** The calls about images on a real engine. API: https://docs.docker.com/reference/api/engine/ */
export abstract class EngineImages implements ImageDriver {
  readonly address: string;
  private info: EngineReply<InfoAnswer> | undefined;

  constructor(
    protected readonly engine: Engine,
    private readonly registryAuth: readonly RegistryAuth[] = [],
  ) {
    this.address = engine.endpoint.address;
  }

  async readEngineId(signal: AbortSignal): Promise<string> {
    const { body, headers } = await this.readInfo(signal);
    // Podman makes up another id for each answer; its store is what stays.
    if (headers["libpod-api-version"] !== undefined)
      return `podman:${body.Name ?? ""}:${body.DockerRootDir ?? ""}`;
    return body.ID ?? "";
  }

  async findImage(reference: string, signal: AbortSignal): Promise<ImageDetails | undefined> {
    const { meaning, body } = await this.engine.request<ImageAnswer>({
      attempt: `Looking for image ${reference}`,
      method: "GET",
      path: `/images/${encodeURI(reference)}/json`,
      signal,
      expect: FOUND,
    });
    return meaning === "missing" ? undefined : toImageDetails(body);
  }

  async listTags(pattern: string, signal: AbortSignal): Promise<{ imageId: string; tag: string }[]> {
    const images = await this.listImages(pattern, signal);
    return images.flatMap(({ imageId, tags }) => tags.map((tag) => ({ imageId, tag })));
  }

  async listImages(pattern: string, signal: AbortSignal): Promise<ListedImage[]> {
    const { body } = await this.engine.request<ListAnswer[]>({
      attempt: `Listing images ${pattern}`,
      method: "GET",
      path: "/images/json",
      query: { filters: { reference: [pattern] } },
      signal,
    });
    return body.map((image) => ({
      imageId: image.Id,
      tags: image.RepoTags ?? [],
      parent: image.ParentId ?? "",
      sizeBytes: image.Size,
      createdMs: image.Created * 1000,
    }));
  }

  async pullImage(
    reference: string,
    platform: string | undefined,
    onProgress: OnProgress,
    signal: AbortSignal,
  ): Promise<void> {
    const { repository, tag, digest } = splitReference(reference);
    const progress = new LayerProgress(onProgress);
    await this.engine.followProgress(
      {
        attempt: `Pulling ${reference}`,
        method: "POST",
        path: "/images/create",
        query: { fromImage: repository, tag: digest ?? tag, platform },
        headers: await this.authHeaders(reference),
        signal,
      },
      (message) => progress.follow(message),
    );
  }

  async tagImage(image: string, repository: string, tag: string, signal: AbortSignal): Promise<void> {
    await this.engine.request({
      attempt: `Tagging ${image} as ${repository}:${tag}`,
      method: "POST",
      path: `/images/${encodeURI(image)}/tag`,
      query: { repo: repository, tag },
      signal,
    });
  }

  /** Two removals that meet on one image make the engine fail with what it has just lost: it is asked again. */
  async untagImage(reference: string, signal: AbortSignal): Promise<"untagged" | "missing" | InUse> {
    return retryFor(MEETING_MS, MEETING_INTERVAL_MS, signal, isMeeting, () =>
      this.tryUntag(reference, signal),
    );
  }

  private async tryUntag(reference: string, signal: AbortSignal): Promise<"untagged" | "missing" | InUse> {
    const { meaning, body } = await this.engine.request<{ message?: string } | undefined>({
      attempt: `Removing tag ${reference}`,
      method: "DELETE",
      path: `/images/${encodeURI(reference)}`,
      signal,
      expect: { 200: "untagged", 404: "missing", 409: "used" },
    });
    if (meaning !== "used") return meaning as "untagged" | "missing";
    return { inUseBy: await this.describeUser(body?.message ?? "", signal) };
  }

  /** The engine names the container by id; people know it by name. */
  private async describeUser(message: string, signal: AbortSignal): Promise<string> {
    const id = /container ([0-9a-f]{12,64})/.exec(message)?.[1];
    const container = id ? await this.findContainer(id, signal) : undefined;
    return container ? `container ${container.name}` : message;
  }

  async pushImage(
    repository: string,
    tag: string,
    onProgress: OnProgress,
    signal: AbortSignal,
  ): Promise<string> {
    const reference = `${repository}:${tag}`;
    const progress = new LayerProgress(onProgress);
    let digest = "";
    await this.engine.followProgress(
      {
        attempt: `Pushing ${reference}`,
        method: "POST",
        path: `/images/${encodeURI(repository)}/push`,
        query: { tag },
        headers: await this.authHeaders(reference, true),
        signal,
      },
      (message) => {
        progress.follow(message);
        const aux = message["aux"] as { Digest?: string } | undefined;
        if (aux?.Digest) digest = aux.Digest;
        const { status } = message;
        const told =
          typeof status === "string" ? /digest: (sha256:[0-9a-f]{64})/.exec(status)?.[1] : undefined;
        if (told) digest ||= told;
      },
    );
    if (digest === "") throw new EngineError(`Pushing ${reference}`, "the engine reported no digest", 200);
    return digest;
  }

  async saveImages(references: string[], signal: AbortSignal): Promise<Readable> {
    const { body } = await this.engine.stream({
      attempt: `Saving ${references.join(", ")}`,
      method: "GET",
      path: "/images/get",
      query: { names: references },
      signal,
    });
    return body;
  }

  async addLayer(options: LayerOptions, signal: AbortSignal): Promise<string | undefined> {
    const { body } = await this.readInfo(signal);
    if (options.base.os !== "linux" || !takesLayers(body.Driver ?? "")) return undefined;
    return addLayer(this.engine, options, signal);
  }

  private async readInfo(signal: AbortSignal): Promise<EngineReply<InfoAnswer>> {
    return (this.info ??= await this.engine.request<InfoAnswer>({
      attempt: "Asking the engine about itself",
      method: "GET",
      path: "/info",
      signal,
    }));
  }

  abstract findContainer(nameOrId: string, signal: AbortSignal): Promise<ContainerDetails | undefined>;

  /** A push always wants the header, even an empty one. */
  private async authHeaders(reference: string, always = false): Promise<Record<string, string>> {
    const credentials = await findCredentials(parseReference(reference).domain, {
      explicit: this.registryAuth,
    });
    if (!credentials) return always ? { "X-Registry-Auth": Buffer.from("{}").toString("base64url") } : {};
    return { "X-Registry-Auth": encodeRegistryAuth(credentials) };
  }
}

function isMeeting(error: unknown): boolean {
  return error instanceof EngineError && error.status === 500 && /unrecognized image ID/.test(error.message);
}

function splitReference(text: string): { repository: string; tag?: string; digest?: string } {
  const reference = parseReference(text);
  const repository = formatReference({ ...reference, tag: undefined, digest: undefined });
  return {
    repository,
    tag: reference.tag ?? (reference.digest ? undefined : "latest"),
    digest: reference.digest,
  };
}
