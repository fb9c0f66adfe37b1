import * as path from "node:path";
import {
  packContent,
  packEntries,
  type Archive,
  type ArchiveOwner,
  type ArchiveTarget,
} from "../../communicators/archive";
import { fetchInto } from "../../communicators/transfer/place";
import { unpackTar } from "../../communicators/transfer/unpack";
import { ConnectionLostError, TimeoutError } from "../../core/errors";
import type { Communicator, ExecOptions, ExecResult, LocalSource } from "../../core/model";
import { listSource, type SourceEntry } from "../../core/source-tree";
import type { DockerDriver } from "./driver";
import { EngineError } from "./engine-error";

export interface CommunicatorOptions {
  driver: DockerDriver;
  /** The program's folder. */
  cwd: string;
  /** User of the commands; "" is the image's own. */
  user: string;
  /** The image's own user, "" for root. */
  imageUser: string;
  environment: Record<string, string>;
  showProgress: (text: string) => void;
  /** Runs in the started container, before anything else does. */
  onStart?: () => Promise<void>;
  /** Offered what is sent below "/" to an untouched container, as a name there that is new; false: it goes into the container. */
  addLayer?: (name: string, archive: Archive, signal: AbortSignal) => Promise<boolean>;
}

/** Talks to the build's container, which may be exchanged. It is started when the first command needs it: files alone do not. */
export class DockerCommunicator implements Communicator {
  readonly os = "unix";
  /** "" before there is one. */
  container = "";
  isStarted = false;
  /** By what ran in it, after it was started. */
  private hasStopped = false;
  /** It holds what its image does, and nothing else. */
  isUntouched = true;
  /** How long containers took to start. */
  startMs = 0;
  private owner: ArchiveOwner | undefined;
  private commands = 0;

  constructor(private readonly options: CommunicatorOptions) {}

  /** From now on, this container. */
  use(container: string): void {
    this.container = container;
    this.isStarted = false;
    this.hasStopped = false;
    this.isUntouched = true;
  }

  async reconnect(signal: AbortSignal): Promise<void> {
    await this.options.driver.startContainer(this.container, signal);
    this.hasStopped = false;
  }

  async exec(command: string, options: ExecOptions): Promise<ExecResult> {
    const { driver, user } = this.options;
    const { container } = this;
    await this.start(options.signal);
    const marker = `KILN_STEP=${++this.commands}`;
    const environment = Object.entries({ ...this.options.environment, ...options.environment }).map(
      ([name, value]) => `${name}=${value}`,
    );
    try {
      const exitCode = await driver.runCommand(container, {
        argv: ["/bin/sh", "-c", command],
        user,
        environment: [...environment, marker],
        stdin: options.stdin,
        onOutput: options.onOutput,
        signal: options.signal,
      });
      return { exitCode };
    } catch (error) {
      // The step may be tried again: what is left of it must not run beside the next try.
      if (options.signal.aborted && options.signal.reason instanceof TimeoutError)
        await this.killMarked(marker);
      else if (error instanceof EngineError && !(await this.isRunning(options.signal))) {
        this.hasStopped = true;
        throw new ConnectionLostError("the container stopped while a command ran in it", { cause: error });
      }
      throw error;
    }
  }

  async upload(local: LocalSource, remote: string, signal: AbortSignal): Promise<void> {
    const { cwd } = this.options;
    const isFolder = remote.endsWith("/");
    const folder = isFolder ? remote.replace(/\/+$/, "") || "/" : dirname(remote);
    const { base, missing } = await this.findBase(folder, signal);
    const entries = "content" in local ? [] : await listSource(local, { cwd, signal });
    // The engine refuses links that lead out of the folder where it unpacks.
    const root = entries.some(climbs) ? "/" : base;
    const below = root === base ? [] : base.split("/").filter((part) => part !== "");
    const toPath = (...names: string[]): string => [...below, ...names].join("/");
    const target: ArchiveTarget = {
      newFolders: missing.map((_, index) => toPath(...missing.slice(0, index + 1))),
      path: toPath(...missing, ...(isFolder ? [] : [basename(remote)])),
      owner: await this.findOwner(signal),
    };
    const archive =
      "content" in local
        ? packContent(local.content, local.mode, target)
        : packEntries(entries, path.resolve(cwd, local.path), target, {
            title: local.path,
            show: this.options.showProgress,
          });
    if (base === "/" && (await this.sendAsLayer(archive, target, signal))) return;
    this.isUntouched = false;
    await this.options.driver.putArchive(this.container, root, archive.stream(), signal);
  }

  /** Only below a name that is new: a layer would take the place of what is there, instead of joining it. */
  private async sendAsLayer(
    archive: Archive,
    { newFolders, path: target }: ArchiveTarget,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { addLayer, driver } = this.options;
    const name = newFolders[0] ?? target;
    if (!addLayer || !this.isUntouched || name === "") return false;
    if (newFolders.length === 0 && (await driver.findPath(this.container, `/${name}`, signal))) return false;
    return addLayer(name, archive, signal);
  }

  async download(
    remote: string,
    local: string,
    options: { folder: boolean; signal: AbortSignal },
  ): Promise<void> {
    const { folder, signal } = options;
    // A folder comes under its own name.
    const strip = folder ? 1 : 0;
    await fetchInto({ local, folder }, async (stage) =>
      unpackTar(await this.options.driver.getArchive(this.container, remote, signal), stage, { strip }),
    );
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async start(signal: AbortSignal): Promise<void> {
    if (this.hasStopped) return this.reconnect(signal);
    if (this.isStarted) return;
    const startedAt = performance.now();
    this.isUntouched = false;
    await this.options.driver.startContainer(this.container, signal);
    this.isStarted = true;
    await this.options.onStart?.();
    this.startMs += performance.now() - startedAt;
  }

  private async isRunning(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return true;
    return (await this.options.driver.findContainer(this.container, signal))?.running ?? false;
  }

  /** The deepest folder on the way that exists; an entry for one that does would reset its mode and owner. */
  private async findBase(folder: string, signal: AbortSignal): Promise<{ base: string; missing: string[] }> {
    const missing: string[] = [];
    let base = folder;
    while (base !== "/" && !(await this.options.driver.findPath(this.container, base, signal))) {
      missing.unshift(basename(base));
      base = dirname(base);
    }
    return { base, missing };
  }

  /** What is uploaded belongs to whom the steps run as. */
  private async findOwner(signal: AbortSignal): Promise<ArchiveOwner> {
    if (this.owner) return this.owner;
    const user = this.options.user || this.options.imageUser;
    const numeric = /^(\d+)(?::(\d+))?$/.exec(user);
    if (user === "" || user === "root") this.owner = { uid: 0, gid: 0 };
    else if (numeric?.[2] !== undefined) this.owner = { uid: Number(numeric[1]), gid: Number(numeric[2]) };
    else this.owner = await this.askOwner(user, signal);
    return this.owner;
  }

  private async askOwner(user: string, signal: AbortSignal): Promise<ArchiveOwner> {
    const output: Buffer[] = [];
    const { exitCode } = await this.exec("id -u && id -g", {
      signal,
      onOutput: (chunk) => output.push(chunk),
    });
    const [uid, gid] = Buffer.concat(output).toString().trim().split("\n").map(Number);
    if (exitCode !== 0 || uid === undefined || gid === undefined || Number.isNaN(uid + gid)) {
      throw new Error(
        `Asking the container for the numbers of user "${user}": \`id\` failed. Use a number (uid:gid) instead`,
      );
    }
    return { uid, gid };
  }

  private async killMarked(marker: string): Promise<void> {
    const command = `for p in /proc/[0-9]*; do grep -qs '${marker}' $p/environ && kill -9 \${p#/proc/}; done; true`;
    await this.options.driver.runCommand(this.container, {
      argv: ["/bin/sh", "-c", command],
      environment: [],
      signal: AbortSignal.timeout(5000),
    });
  }
}

function climbs({ target = "" }: SourceEntry): boolean {
  return target.split("/").includes("..");
}

function dirname(remote: string): string {
  return remote.slice(0, Math.max(remote.lastIndexOf("/"), 0)) || "/";
}

function basename(remote: string): string {
  return remote.slice(remote.lastIndexOf("/") + 1);
}
