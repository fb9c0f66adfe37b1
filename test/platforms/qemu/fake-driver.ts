import * as fs from "node:fs";
import type { ConnectOptions } from "../../../src/communicators/ssh";
import type { SshOptions } from "../../../src/communicators/ssh-options";
import type { ExecOptions, ExecResult, LocalSource } from "../../../src/core/model";
import { throwIfAborted } from "../../../src/core/retry";
import type {
  ConvertOptions,
  Disk,
  DiskDetails,
  MachineConnection,
  MachineSpec,
  QemuDriver,
  QemuMachine,
} from "../../../src/platforms/qemu/driver";
import {
  FakeQemuWorld,
  hasEnded,
  kill,
  readChain,
  readDisk,
  writeDisk,
  type FakeMachine,
  type Memory,
} from "./fake-world";

const DEFAULT_SIZE_BYTES = 2 ** 20;

/** QEMU whose disks are small files that can be read, and whose machines are reached without a network. */
export class FakeQemuDriver implements QemuDriver {
  constructor(readonly world = new FakeQemuWorld()) {}

  readVersion(_binary: string, signal: AbortSignal): Promise<string> {
    throwIfAborted(signal);
    return Promise.resolve("9.9.9");
  }

  canAccelerate(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async createDisk({ path }: Disk, sizeBytes: number, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    writeDisk(path, { sizeBytes, writes: [] });
  }

  async createOverlay(
    path: string,
    below: Disk,
    sizeBytes: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    throwIfAborted(signal);
    writeDisk(path, {
      below: below.path,
      sizeBytes: sizeBytes ?? readDisk(below.path).sizeBytes,
      writes: [],
    });
  }

  async inspectDisk({ path }: Disk, signal: AbortSignal): Promise<DiskDetails> {
    throwIfAborted(signal);
    const { sizeBytes, below } = readDisk(path);
    return { virtualSizeBytes: sizeBytes, standsOn: below };
  }

  async rebaseDisk(path: string, onto: Disk, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    const writes = readChain(path).slice(readChain(onto.path).length);
    writeDisk(path, { ...readDisk(path), below: onto.path, writes });
  }

  async convertDisk({ source, target, backing, onProgress, signal }: ConvertOptions): Promise<void> {
    throwIfAborted(signal);
    const { sizeBytes } = readDisk(source.path);
    const writes = readChain(source.path);
    const below = backing ? readChain(backing.path) : [];
    writeDisk(target.path, { below: backing?.path, sizeBytes, writes: writes.slice(below.length) });
    onProgress(100);
  }

  async startMachine(spec: MachineSpec, signal: AbortSignal): Promise<QemuMachine> {
    throwIfAborted(signal);
    for (const file of [...spec.cds, ...(spec.floppy === undefined ? [] : [spec.floppy])])
      if (!fs.existsSync(file)) throw new Error(`${file} is not there`);
    return new FakeRunning(await this.world.start(spec));
  }

  async connect(options: SshOptions, target: ConnectOptions): Promise<MachineConnection> {
    throwIfAborted(target.signal);
    const { port } = await target.findAddress(target.signal);
    const machine = this.world.listRunning().find((one) => one.port === port);
    if (!machine) throw new Error(`no machine answers on port ${port}`);
    machine.login ||= target.privateKey ?? "";
    if (machine.login !== (target.privateKey ?? "")) throw new Error("the machine does not let us in");
    if (options.sshHostKey !== undefined && options.sshHostKey !== machine.hostKey)
      throw new Error(`the machine shows ${machine.hostKey}, not ${options.sshHostKey}`);
    return new FakeConnection(this.world, machine);
  }
}

class FakeRunning implements QemuMachine {
  constructor(private readonly machine: FakeMachine) {}

  get pid(): number {
    return this.machine.child.pid ?? 0;
  }

  get hasEnded(): boolean {
    return hasEnded(this.machine.child);
  }

  findPort(): Promise<number> {
    return Promise.resolve(this.machine.port);
  }

  pressKeys(): Promise<void> {
    return Promise.resolve();
  }

  async save(
    memoryFile: string,
    overlay: string,
    whileStopped: () => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { machine } = this;
    if (readDisk(overlay).below !== machine.disk)
      throw new Error(`${overlay} does not stand on ${machine.disk}`);
    machine.disk = overlay;
    whileStopped();
    throwIfAborted(signal);
    const { login, hostKey } = machine;
    const memory: Memory = { disk: readChain(overlay), login, hostKey };
    fs.writeFileSync(memoryFile, JSON.stringify(memory));
  }

  pressPowerButton(): Promise<void> {
    return kill(this.machine.child);
  }

  async waitUntilEnded(signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    if (!this.hasEnded) throw new Error("the machine was not asked to end");
  }

  describeConsole(): Promise<string> {
    return Promise.resolve("the console");
  }

  kill(): Promise<void> {
    return kill(this.machine.child);
  }
}

/** What runs in the machine, or comes into it, is written to its disk. A script's line `exit N` ends it. */
class FakeConnection implements MachineConnection {
  readonly os = "unix";

  constructor(
    private readonly world: FakeQemuWorld,
    private readonly machine: FakeMachine,
  ) {}

  get hostKey(): string {
    return this.machine.hostKey;
  }

  async reconnect(signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
  }

  async exec(command: string, { signal, stdin = "" }: ExecOptions): Promise<ExecResult> {
    throwIfAborted(signal);
    const lines = stdin.toString().split("\n").slice(1, -1);
    if (/\bsh -s --/.test(command)) this.write(lines.length > 1 ? "sealed" : "trimmed");
    if (!command.startsWith("cat >")) return { exitCode: 0 };
    for (const line of lines) {
      this.world.ran.push(line);
      const [, code] = /^exit (\d+)$/.exec(line) ?? [];
      if (code !== undefined) return { exitCode: Number(code) };
      this.write(line);
    }
    return { exitCode: 0 };
  }

  async upload(local: LocalSource, remote: string, signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    this.write(`${remote}: ${"content" in local ? local.content.toString() : local.path}`);
  }

  download(): Promise<void> {
    return Promise.reject(new Error("nothing comes out of this machine"));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  private write(text: string): void {
    const content = readDisk(this.machine.disk);
    writeDisk(this.machine.disk, { ...content, writes: [...content.writes, text] });
  }
}

/** A disk as it comes from a distribution. */
export function writeSourceDisk(file: string, text: string): void {
  writeDisk(file, { sizeBytes: DEFAULT_SIZE_BYTES, writes: [text] });
}
