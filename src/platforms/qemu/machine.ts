import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import type { BuildContext } from "../../core/context";
import { describeError } from "../../core/errors";
import { throwIfAborted } from "../../core/retry";
import { parseBinarySize } from "./binary-size";
import { QemuCommunicator } from "./communicator";
import type { Disk, MachineSpec, QemuDriver, QemuMachine } from "./driver";
import type { MachineKind } from "./kind";
import {
  connectMachine,
  makeKeyPair,
  noteLogin,
  setClock,
  typeBootCommand,
  type Login,
} from "./machine-login";
import { listMedia, serveFiles, writeMedia } from "./machine-media";
import type { QemuImageOptions } from "./options";
import { runFolderOf, stopMachine } from "./run-folder";
import type { SourceDisk } from "./source";
import type { StageStore } from "./stage-store";

const DEFAULT_MEMORY_BYTES = 2 ** 30;
const DEFAULT_DISK_BYTES = 40 * 2 ** 30;
const VARIABLES = "variables.fd";

export interface MachineSetup {
  driver: QemuDriver;
  store: StageStore;
  options: QemuImageOptions;
  kind: MachineKind;
  source: SourceDisk;
}

/** The machine of one build. It may be exchanged for one that was saved. */
export class BuildMachine {
  readonly communicator = new QemuCommunicator();
  /** What it has its disk in; "" before it is opened. */
  object = "";
  /** All that were made for this build's machines; of those that nobody came to use too. */
  private readonly objects: string[] = [];
  private running: QemuMachine | undefined;
  private login: Login | undefined;
  private readonly folder: string;

  constructor(
    private readonly context: BuildContext,
    private readonly setup: MachineSetup,
    machineName: string,
  ) {
    this.folder = runFolderOf(machineName);
    fs.mkdirSync(this.folder, { mode: 0o700 });
    const stop = async (): Promise<void> => {
      try {
        await this.close();
      } finally {
        // What does not answer any more is ended all the same.
        await stopMachine(machineName);
        setup.store.collect(this.objects);
      }
    };
    context.defer("stopping the machine", stop, "unless-kept");
  }

  get disk(): Disk {
    return this.setup.store.diskOf(this.object);
  }

  /** Of UEFI, as the machine has them now. */
  get variablesFile(): string | undefined {
    return this.setup.kind.firmware && path.join(this.folder, VARIABLES);
  }

  get publicKey(): string | undefined {
    return this.login?.publicKey;
  }

  /** From the source: a machine that boots, and what it takes until it can be reached. */
  async boot(): Promise<void> {
    const { context, setup } = this;
    const { options, driver, store, source, kind } = setup;
    await this.leave();
    this.object = this.createObject({ source: source.disk });
    const size = options.diskSize === undefined ? undefined : parseBinarySize(options.diskSize);
    if (source.disk) await driver.createOverlay(this.disk.path, source.disk, size, context.signal);
    else await driver.createDisk(this.disk, size ?? DEFAULT_DISK_BYTES, context.signal);
    if (kind.firmware) fs.copyFileSync(kind.firmware.variables, path.join(this.folder, VARIABLES));
    const pair = await makeKeyPair(options, context.buildId);
    await writeMedia(context, options, store.folderOf(this.object), pair?.publicKey);
    for (const [index, text] of (options.additionalDisks ?? []).entries())
      await driver.createDisk(this.additionalDisk(index), parseBinarySize(text), context.signal);
    const values = await serveFiles(context, options, pair?.publicKey);
    const machine = await this.start();
    try {
      await typeBootCommand(context, options, machine, values);
      await this.connect(machine, { ...pair, hostKey: options.sshHostKey ?? "" });
    } catch (error) {
      throwIfAborted(context.signal);
      throw new Error(`${describeError(error)}\n${await machine.describeConsole()}`, { cause: error });
    }
  }

  /** From a saved machine: it goes on as if nothing had been between. */
  async resume(object: string): Promise<void> {
    const { context, setup } = this;
    const { driver, store } = setup;
    await this.leave();
    const record = store.read(object);
    if (!record?.login || !store.isIntact(object))
      throw new Error(`Going on from the saved machine ${object}: a disk of it is not what it was`);
    this.object = this.createObject({ below: object });
    await driver.createOverlay(this.disk.path, store.diskOf(object), undefined, context.signal);
    this.takeMedia(object);
    if (setup.kind.firmware)
      fs.copyFileSync(store.fileOf(object, VARIABLES), path.join(this.folder, VARIABLES));
    const machine = await this.start(store.fileOf(object, "memory"));
    await this.connect(machine, record.login);
    await setClock(context, this.communicator);
  }

  /** Writes the machine down under the object that it has, and goes on in a new one. */
  async save(): Promise<string> {
    const { context, setup } = this;
    const { driver, store } = setup;
    const saved = this.object;
    const next = this.createObject({ below: saved });
    await driver.createOverlay(store.diskOf(next).path, this.disk, undefined, context.signal);
    const copyVariables = (): void => {
      // From here on it writes there, whatever comes.
      this.object = next;
      this.takeMedia(saved);
      if (this.variablesFile) fs.copyFileSync(this.variablesFile, store.fileOf(saved, VARIABLES));
    };
    const memory = store.fileOf(saved, "memory");
    try {
      await this.require().save(memory, store.diskOf(next).path, copyVariables, context.signal);
    } catch (error) {
      fs.rmSync(memory, { force: true });
      // The machine goes on above it: a disk that does not change any more, whose memory nobody has.
      if (this.object === next) store.seal(saved, undefined);
      throw error;
    }
    store.seal(saved, this.login);
    return saved;
  }

  async close(): Promise<void> {
    await this.communicator.close();
    await this.running?.kill();
    this.running = undefined;
  }

  /** Asks it to end, and waits until it has. */
  async shutDown(command: string | undefined, signal: AbortSignal): Promise<void> {
    const machine = this.require();
    if (command === undefined) await machine.pressPowerButton();
    else await this.runLast(command, signal);
    await machine.waitUntilEnded(signal);
    await this.close();
  }

  /** What it shows, as far as that is text; "" if it does not run. */
  async describeConsole(): Promise<string> {
    return (await this.running?.describeConsole()) ?? "";
  }

  /** The connection may break before the command's end is told. */
  private async runLast(command: string, signal: AbortSignal): Promise<void> {
    const { log } = this.context;
    const running = this.communicator.exec(command, { signal, onOutput: (chunk) => log.output(chunk) });
    const ended = this.require().waitUntilEnded(signal);
    const result = await Promise.race([running.catch(() => undefined), ended]);
    if (result && result.exitCode !== 0)
      throw new Error(`Shutting down by \`${command}\`: it ended with exit code ${result.exitCode}`);
  }

  private createObject(on: { below?: string; source?: Disk }): string {
    const id = `${this.context.buildId}-${randomBytes(4).toString("hex")}`;
    this.setup.store.create(id, on);
    this.objects.push(id);
    return id;
  }

  private require(): QemuMachine {
    if (!this.running) throw new Error("Asking the build's machine: there is none");
    return this.running;
  }

  private async leave(): Promise<void> {
    await this.close();
    if (this.object !== "") this.setup.store.collect([this.object]);
  }

  /** Media are the same files for all machines that go on from one. */
  private takeMedia(from: string): void {
    const { store } = this.setup;
    const { cds, floppy } = listMedia(store.folderOf(from));
    for (const file of [...cds, ...(floppy === undefined ? [] : [floppy])])
      fs.linkSync(file, store.fileOf(this.object, path.basename(file)));
  }

  private additionalDisk(index: number): Disk {
    return { path: this.setup.store.fileOf(this.object, additionalName(index)), format: "qcow2" };
  }

  private async connect(machine: QemuMachine, login: Login): Promise<void> {
    const { driver, options } = this.setup;
    const connection = await connectMachine(this.context, driver, options, machine, login);
    this.communicator.connection = connection;
    this.login = { ...login, hostKey: connection.hostKey };
    if (options.onError === "abort") await noteLogin(this.folder, options, machine, login);
  }

  private async start(memoryFile?: string): Promise<QemuMachine> {
    const { setup, context } = this;
    fs.rmSync(path.join(this.folder, "qmp.sock"), { force: true });
    return (this.running = await setup.driver.startMachine(this.describe(memoryFile), context.signal));
  }

  private describe(memoryFile: string | undefined): MachineSpec {
    const { options, kind, source, store } = this.setup;
    const { cds, floppy } = listMedia(store.folderOf(this.object));
    return {
      name: path.basename(this.folder),
      folder: this.folder,
      ...kind,
      cpus: options.cpus ?? 1,
      memoryBytes: options.memory === undefined ? DEFAULT_MEMORY_BYTES : parseBinarySize(options.memory),
      disk: this.disk,
      additionalDisks: (options.additionalDisks ?? []).map((_, index) => this.additionalDisk(index)),
      diskInterface: options.diskInterface ?? "virtio",
      netDevice: options.netDevice ?? "virtio-net-pci",
      forwardedPort: options.sshPort ?? 22,
      cds: [...(source.iso === undefined ? [] : [source.iso]), ...cds],
      floppy,
      firmware: kind.firmware && { ...kind.firmware, variables: this.variablesFile ?? "" },
      bootsFrom: source.disk ? "disk" : "cd",
      isHeadless: options.headless ?? true,
      moreArguments: options.qemuArguments ?? [],
      memoryFile,
    };
  }
}

function additionalName(index: number): string {
  return `additional-${index + 1}.qcow2`;
}
