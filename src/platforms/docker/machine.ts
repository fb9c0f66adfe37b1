import * as path from "node:path";
import type { BuildContext } from "../../core/context";
import { DockerCommunicator, type CommunicatorOptions } from "./communicator";
import { nameContainer, nameContainers } from "./container-name";
import type { DockerDriver, ImageConfig, ImageDetails } from "./driver";
import type { DockerImageOptions } from "./options";

/** Ends at once when it is killed, and waits for ever otherwise; needs only a shell. */
const SLEEPER = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 86400 & wait $!; done"];

/** The container that is built in. It may be exchanged for another one, made from what was saved of it. */
export class BuildMachine {
  readonly communicator: DockerCommunicator;
  private readonly names: readonly string[];
  private readonly removals = new Map<string, () => void>();
  private readonly going = new Map<string, Promise<void>>();
  private count = 0;
  /** It may be there, though the engine's answer never came. */
  private unconfirmed: string | undefined;

  constructor(
    private readonly context: BuildContext,
    private readonly build: { driver: DockerDriver; options: DockerImageOptions },
    readonly source: ImageDetails,
    hooks: Pick<CommunicatorOptions, "onStart" | "addLayer"> = {},
  ) {
    const { driver, options } = build;
    this.names = nameContainers(nameContainer(context.buildId));
    this.communicator = new DockerCommunicator({
      driver,
      cwd: context.cwd,
      user: options.user ?? "",
      imageUser: source.config.User ?? "",
      environment: options.environment ?? {},
      showProgress: (text) => context.log.progress(text),
      ...hooks,
    });
  }

  get container(): string {
    return this.communicator.container;
  }

  /** Makes a container of this image; the one that there was goes, beside what follows. */
  async open(image: string): Promise<void> {
    const { driver, options } = this.build;
    const { context } = this;
    const before = this.count > 0 ? this.nameAt(this.count - 1) : undefined;
    const name = this.nameAt(this.count);
    await this.going.get(name);
    this.deferRemoval(name);
    if (this.unconfirmed === name) await driver.removeContainer(name, context.signal);
    this.unconfirmed = name;
    const id = await driver.createContainer(
      describeContainer(context, options, this.source, name, image),
      context.signal,
    );
    this.unconfirmed = undefined;
    // Not before: what fails leaves the build with the container that it has.
    this.count++;
    this.communicator.use(id);
    if (before !== undefined) this.going.set(before, this.removeQuietly(before));
  }

  /** The container is not needed any more; nobody waits for its end. */
  remove(): void {
    for (const begin of this.removals.values()) begin();
  }

  private nameAt(index: number): string {
    return this.names[index % this.names.length] ?? "";
  }

  /** By name, and before it is made: an answer that never comes must not leave a container behind. */
  private deferRemoval(name: string): void {
    if (this.removals.has(name)) return;
    const undo = async (signal: AbortSignal): Promise<void> => {
      await this.going.get(name);
      await this.build.driver.removeContainer(name, signal);
    };
    this.removals.set(name, this.context.defer(`removing container ${name}`, undo, "unless-kept"));
  }

  /** What could not be removed now is removed by the undo, which tells what it cannot do. */
  private async removeQuietly(name: string): Promise<void> {
    try {
      await this.build.driver.removeContainer(name, this.context.signal);
    } catch (error) {
      this.context.log.info(`removing container ${name} is put off: ${(error as Error).message}`);
    }
  }
}

function describeContainer(
  context: BuildContext,
  options: DockerImageOptions,
  source: ImageDetails,
  name: string,
  image: string,
): Parameters<DockerDriver["createContainer"]>[0] {
  return {
    name,
    image,
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
}

function parseDevice(device: string): Record<string, string> {
  const [onHost = "", inContainer = onHost, permissions = "rwm"] = device.split(":");
  return { PathOnHost: onHost, PathInContainer: inContainer, CgroupPermissions: permissions };
}

function splitOnce(mount: string): [string, string] {
  const at = mount.indexOf(":");
  return at < 0 ? [mount, ""] : [mount.slice(0, at), mount.slice(at + 1)];
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

/** The source's configuration, in the form in which a commit keeps it. */
export function sourceConfig(config: ImageConfig, changes: readonly string[]): ImageConfig {
  if (chooseCommand(config, changes).entrypoint === undefined) return config;
  // An empty list instead of nothing: nothing would be filled up with the sleeper.
  return { ...config, Entrypoint: config["Entrypoint"] ?? [], Cmd: config["Cmd"] ?? [] };
}

function isFilled(list: unknown): boolean {
  return Array.isArray(list) && list.length > 0;
}
