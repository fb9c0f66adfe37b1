import { Readable } from "node:stream";
import { encodeRegistryAuth, findCredentials } from "./credentials";
import type {
  CommandOptions,
  CommitOptions,
  ContainerDetails,
  ContainerOptions,
  DockerDriver,
  ImageConfig,
  ImageDetails,
  InUse,
  OnProgress,
  PathDetails,
} from "./driver";
import type { Engine } from "./engine";
import { EngineError } from "./engine-error";
import type { RegistryAuth } from "./options";
import { formatReference, parseReference } from "./reference";

const FOUND = { 200: "found", 404: "missing" } as const;
const DONE = { 200: "done", 201: "done", 204: "done", 304: "done" } as const;

/** The driver on a real engine: Docker, or Podman's socket. API: https://docs.docker.com/reference/api/engine/ */
export class EngineDriver implements DockerDriver {
  readonly address: string;

  constructor(
    private readonly engine: Engine,
    private readonly registryAuth: readonly RegistryAuth[] = [],
  ) {
    this.address = engine.endpoint.address;
  }

  async readEngineId(signal: AbortSignal): Promise<string> {
    const { body } = await this.engine.request<{ ID?: string }>({
      attempt: "Asking the engine for its id",
      method: "GET",
      path: "/info",
      signal,
    });
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
    const { body } = await this.engine.request<{ Id: string; RepoTags?: string[] | null }[]>({
      attempt: `Listing images ${pattern}`,
      method: "GET",
      path: "/images/json",
      query: { filters: { reference: [pattern] } },
      signal,
    });
    return body.flatMap((image) => (image.RepoTags ?? []).map((tag) => ({ imageId: image.Id, tag })));
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

  async untagImage(reference: string, signal: AbortSignal): Promise<"untagged" | "missing" | InUse> {
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

  async createContainer(options: ContainerOptions, signal: AbortSignal): Promise<string> {
    const { body } = await this.engine.request<{ Id: string }>({
      attempt: `Creating a container from ${options.image}`,
      method: "POST",
      path: "/containers/create",
      query: { name: options.name, platform: options.platform },
      // No labels, environment, command or user here: a commit would put them into the image.
      body: {
        Image: options.image,
        Entrypoint: options.entrypoint,
        Cmd: options.command,
        HostConfig: options.hostConfig,
      },
      signal,
    });
    return body.Id;
  }

  async startContainer(id: string, signal: AbortSignal): Promise<void> {
    await this.engine.request({
      attempt: `Starting container ${id.slice(0, 12)}`,
      method: "POST",
      path: `/containers/${id}/start`,
      signal,
      expect: DONE,
    });
  }

  async findContainer(nameOrId: string, signal: AbortSignal): Promise<ContainerDetails | undefined> {
    const { meaning, body } = await this.engine.request<ContainerAnswer>({
      attempt: `Looking for container ${nameOrId}`,
      method: "GET",
      path: `/containers/${encodeURIComponent(nameOrId)}/json`,
      signal,
      expect: FOUND,
    });
    if (meaning === "missing") return undefined;
    return {
      id: body.Id,
      name: body.Name.replace(/^\//, ""),
      running: body.State.Running,
      exitCode: body.State.ExitCode,
    };
  }

  async removeContainer(id: string, signal: AbortSignal): Promise<void> {
    await this.engine.request({
      attempt: `Removing container ${id.slice(0, 12)}`,
      method: "DELETE",
      path: `/containers/${id}`,
      query: { force: true, v: true },
      signal,
      // 409: it is being removed already.
      expect: { ...DONE, 404: "missing", 409: "going" },
    });
  }

  async runCommand(container: string, options: CommandOptions): Promise<number> {
    const { signal, onOutput } = options;
    const attempt = `Running a command in container ${container.slice(0, 12)}`;
    const created = await this.engine.request<{ Id: string }>({
      attempt,
      method: "POST",
      path: `/containers/${container}/exec`,
      body: {
        Cmd: options.argv,
        Env: options.environment,
        User: options.user ?? "",
        AttachStdin: options.stdin !== undefined,
        AttachStdout: true,
        AttachStderr: true,
      },
      signal,
    });
    const path = `/exec/${created.body.Id}`;
    const deliver = (chunk: Buffer): void => onOutput?.(chunk);
    await this.engine.attach({
      attempt,
      path: `${path}/start`,
      body: { Detach: false, Tty: false },
      ...(options.stdin === undefined ? {} : { stdin: Readable.from([Buffer.from(options.stdin)]) }),
      onStdout: deliver,
      onStderr: deliver,
      signal,
    });
    const ended = await this.engine.request<{ ExitCode: number | null; Running: boolean }>({
      attempt,
      method: "GET",
      path: `${path}/json`,
      signal,
    });
    if (ended.body.ExitCode === null)
      throw new EngineError(attempt, "its output ended but the command did not", 200);
    return ended.body.ExitCode;
  }

  async findPath(container: string, path: string, signal: AbortSignal): Promise<PathDetails | undefined> {
    const { meaning, headers } = await this.engine.request({
      attempt: `Looking for ${path} in container ${container.slice(0, 12)}`,
      method: "HEAD",
      path: `/containers/${container}/archive`,
      query: { path },
      signal,
      expect: FOUND,
    });
    if (meaning === "missing") return undefined;
    const stat = JSON.parse(
      Buffer.from(String(headers["x-docker-container-path-stat"]), "base64").toString(),
    ) as PathAnswer;
    return { name: stat.name, isFolder: (stat.mode & GO_MODE_FOLDER) !== 0, linkTarget: stat.linkTarget };
  }

  async putArchive(container: string, folder: string, archive: Readable, signal: AbortSignal): Promise<void> {
    await this.engine.request({
      attempt: `Sending files to ${folder}`,
      method: "PUT",
      path: `/containers/${container}/archive`,
      query: { path: folder, noOverwriteDirNonDir: true },
      body: archive,
      signal,
    });
  }

  async getArchive(container: string, path: string, signal: AbortSignal): Promise<Readable> {
    const { body } = await this.engine.stream({
      attempt: `Fetching ${path}`,
      method: "GET",
      path: `/containers/${container}/archive`,
      query: { path },
      signal,
    });
    return body;
  }

  async exportContainer(container: string, signal: AbortSignal): Promise<Readable> {
    const { body } = await this.engine.stream({
      attempt: "Exporting the container",
      method: "GET",
      path: `/containers/${container}/export`,
      signal,
    });
    return body;
  }

  async commitContainer(options: CommitOptions, signal: AbortSignal): Promise<string> {
    const { body } = await this.engine.request<{ Id: string }>({
      attempt: "Committing the container",
      method: "POST",
      path: "/commit",
      query: {
        container: options.container,
        repo: options.repository,
        tag: options.tag,
        author: options.author,
        comment: options.comment,
        changes: options.changes,
      },
      body: options.config,
      signal,
    });
    return body.Id;
  }

  /** A push always wants the header, even an empty one. */
  private async authHeaders(reference: string, always = false): Promise<Record<string, string>> {
    const credentials = await findCredentials(parseReference(reference).domain, {
      explicit: this.registryAuth,
    });
    if (!credentials) return always ? { "X-Registry-Auth": Buffer.from("{}").toString("base64url") } : {};
    return { "X-Registry-Auth": encodeRegistryAuth(credentials) };
  }
}

/** Go's `os.ModeDir`. */
const GO_MODE_FOLDER = 0x80000000;

interface ImageAnswer {
  Id: string;
  Os: string;
  Architecture: string;
  Variant?: string;
  Parent?: string;
  Size: number;
  RepoTags?: string[] | null;
  RepoDigests?: string[] | null;
  Config?: ImageConfig | null;
}

interface ContainerAnswer {
  Id: string;
  Name: string;
  State: { Running: boolean; ExitCode: number };
}

interface PathAnswer {
  name: string;
  mode: number;
  linkTarget: string;
}

function toImageDetails(answer: ImageAnswer): ImageDetails {
  return {
    id: answer.Id,
    os: answer.Os,
    architecture: answer.Architecture,
    variant: answer.Variant ?? "",
    parent: answer.Parent ?? "",
    sizeBytes: answer.Size,
    tags: answer.RepoTags ?? [],
    digests: answer.RepoDigests ?? [],
    config: answer.Config ?? {},
  };
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

/** One line of the bytes of all layers. */
class LayerProgress {
  private readonly layers = new Map<string, { current: number; total: number }>();

  constructor(private readonly onProgress: OnProgress) {}

  follow(message: Record<string, unknown>): void {
    const { id, status, progressDetail } = message as {
      id?: string;
      status?: string;
      progressDetail?: { current?: number; total?: number };
    };
    if (!id || !progressDetail?.current) return;
    const { current, total = 0 } = progressDetail;
    this.layers.set(id, { current, total: Math.max(total, current) });
    const all = [...this.layers.values()];
    const sum = (of: (layer: { current: number; total: number }) => number): string =>
      (all.reduce((bytes, layer) => bytes + of(layer), 0) / 1e6).toFixed(1);
    this.onProgress(`${(status ?? "").toLowerCase()} ${sum((l) => l.current)} of ${sum((l) => l.total)} MB`);
  }
}
