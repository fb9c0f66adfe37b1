import { Readable } from "node:stream";
import type {
  CommandOptions,
  CommitOptions,
  ContainerDetails,
  ContainerOptions,
  DockerDriver,
  PathDetails,
} from "./driver";
import { EngineError } from "./engine-error";
import { EngineImages, FOUND } from "./engine-images";
import type { RegistryAuth } from "./options";

const DONE = { 200: "done", 201: "done", 204: "done", 304: "done" } as const;

/** The driver on a real engine: Docker, or Podman's socket. The calls about containers are here. */
export class EngineDriver extends EngineImages implements DockerDriver {
  withCredentials(registryAuth: readonly RegistryAuth[]): EngineDriver {
    return new EngineDriver(this.engine, registryAuth);
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

  async measureContainer(id: string, signal: AbortSignal): Promise<number> {
    const { body } = await this.engine.request<{ SizeRw?: number }>({
      attempt: `Measuring container ${id.slice(0, 12)}`,
      method: "GET",
      path: `/containers/${id}/json`,
      query: { size: true },
      signal,
    });
    return body.SizeRw ?? 0;
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

  async putArchive(
    container: string,
    folder: string,
    archive: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
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
        pause: options.pause,
        changes: options.changes,
      },
      body: options.config,
      signal,
    });
    // Podman leaves the algorithm off here, and nowhere else.
    return body.Id.includes(":") ? body.Id : `sha256:${body.Id}`;
  }
}

/** Go's `os.ModeDir`. */
const GO_MODE_FOLDER = 0x80000000;

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
