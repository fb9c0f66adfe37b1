/** Stages as saved machines: a thin disk and the memory. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import type { BuildContext } from "../../core/context";
import { hashSources } from "../../core/source-tree";
import type { Json, StageKeeper } from "../../core/model";
import { findNewest, ownerOfStages, type StageMark } from "../../core/stage-claims";
import { BuildMachine, type MachineSetup } from "./machine";
import { listMediaSources, nameMedia } from "./local-paths";

/** One build's view of the machines that are saved here. */
export class QemuStages implements StageKeeper {
  private found = new Map<string, string>();

  private constructor(
    private readonly context: BuildContext,
    private readonly setup: MachineSetup & { owner: string; id: string },
    private readonly build: BuildMachine,
    private readonly media: string[],
  ) {}

  static async create(
    context: BuildContext,
    setup: MachineSetup & { owner: string; id: string },
    build: BuildMachine,
  ): Promise<QemuStages> {
    return new QemuStages(context, setup, build, await hashMedia(context, setup));
  }

  /** How a machine starts takes long, an installation for ever. */
  get savesStart(): boolean {
    return this.explainUnsaved() === undefined;
  }

  get machine(): { [key: string]: Json | undefined } {
    const { options, kind, source } = this.setup;
    const { version, accelerator, machineType, cpuModel, hostCpu, firmware } = kind;
    const running = [
      "cpus", "memory", "diskSize", "diskInterface", "netDevice", "qemuArguments", "sshUsername", "sshPort",
      "diskImage", "sourceFormat", "bootCommand", "bootWait", "httpContent", "cdContent", "cdLabel",
      "floppyContent", "floppyLabel",
    ] as const; // prettier-ignore
    return {
      qemu: { version, accelerator, machineType, cpuModel, hostCpu },
      firmware: firmware ? [firmware.code, firmware.variables].map(hashFileNow) : undefined,
      source: source.sha256,
      ...Object.fromEntries(running.map((name) => [name, options[name] as Json | undefined])),
      media: { names: nameMedia(options), contents: this.media },
      cloudInit: options.cloudInit as Json | undefined,
      login: this.describeLogin(),
    };
  }

  /** A machine is saved with the login that it has. */
  private describeLogin(): string {
    const { sshPassword, sshPrivateKeyFile, sshAgentAuth } = this.setup.options;
    if (sshAgentAuth) return "agent";
    if (sshPrivateKeyFile !== undefined)
      return hashFileNow(path.resolve(this.context.cwd, sshPrivateKeyFile));
    return sshPassword === undefined ? "made" : hash(sshPassword);
  }

  findStages(keys: readonly string[]): Promise<ReadonlySet<string>> {
    const { store } = this.setup;
    const marks = store.listMarks().filter((mark) => keys.includes(mark.key));
    for (const [key, stageId] of findNewest(marks)) if (store.isIntact(stageId)) this.found.set(key, stageId);
    return Promise.resolve(new Set(this.found.keys()));
  }

  async openMachine(key: string | undefined): Promise<void> {
    const object = key === undefined ? undefined : this.found.get(key);
    if (object === undefined) await this.context.step("boot", () => this.boot());
    else await this.context.step("resume", () => this.build.resume(object));
  }

  private async boot(): Promise<void> {
    await this.build.boot();
    // They may be read until the machine is up.
    const now = await hashMedia(this.context, this.setup);
    if (now.join() !== this.media.join())
      throw new Error(
        "Booting: the files for the machine's media or HTTP changed meanwhile. Run again when nothing writes to them",
      );
  }

  claimStages(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      const object = this.found.get(key);
      if (object !== undefined) this.mark(key, object);
    }
    return Promise.resolve();
  }

  findObstacle(): Promise<string | undefined> {
    return Promise.resolve(this.explainUnsaved());
  }

  private explainUnsaved(): string | undefined {
    const { cloudInit, additionalDisks, qemuArguments = [] } = this.setup.options;
    if ((cloudInit?.secrets ?? []).length > 0) return "the machine's memory may hold a secret of `cloudInit`";
    if ((additionalDisks ?? []).length > 0 || qemuArguments.flat().some(isDisk))
      return "further disks are not saved";
    return undefined;
  }

  /** A stage takes the disk as it is, and does not copy it. */
  measureBytes(): Promise<number> {
    return Promise.resolve(0);
  }

  /** Memory is full of what was, and is not searched. */
  containsText(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async saveStage(key: string): Promise<void> {
    const object = await this.build.save();
    this.found.set(key, object);
    this.mark(key, object);
  }

  /** The machine goes on by itself. */
  continueFrom(): Promise<void> {
    return Promise.resolve();
  }

  private mark(key: string, object: string): void {
    this.setup.store.mark(key, ownerOfStages(this.setup.owner), this.setup.id, object);
  }
}

async function hashMedia({ cwd }: BuildContext, { options }: MachineSetup): Promise<string[]> {
  return (await hashSources(listMediaSources(options), { cwd })).map((tree) => tree.hash);
}

export function dropStage(store: MachineSetup["store"], mark: StageMark): void {
  store.dropMark(mark);
  store.collect();
}

function isDisk(argument: string): boolean {
  return /^--?(drive|blockdev|hd[a-d]|fd[ab]|cdrom|pflash|sd|mtdblock|virtfs|fsdev)$/.test(argument);
}

function hashFileNow(file: string): string {
  return createHash("sha256").update(fs.readFileSync(file)).digest("hex");
}

function hash(text: string): string {
  return createHash("sha256").update(`login ${text}`).digest("hex").slice(0, 16);
}
