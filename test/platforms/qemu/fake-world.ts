/** Disks, memories and machines without QEMU: small files that say what is in them, and processes that do nothing. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import type { MachineSpec } from "../../../src/platforms/qemu/driver";

/** What is in the file of a disk. */
export interface DiskContent {
  /** The file that it stands on. */
  below?: string;
  sizeBytes: number;
  /** What was written to it, beside what is below. */
  writes: string[];
}

/** What a machine takes along when it is saved. */
export interface Memory {
  /** All that it has read of its disk: it goes on with no other. */
  disk: string[];
  /** The login that it was made with, and the key that it shows. */
  login: string;
  hostKey: string;
}

export function readDisk(file: string): DiskContent {
  return JSON.parse(fs.readFileSync(file, "utf8")) as DiskContent;
}

export function writeDisk(file: string, content: DiskContent): void {
  fs.writeFileSync(file, JSON.stringify(content));
}

/** All that a machine sees on a disk. */
export function readChain(file: string): string[] {
  const { below, writes } = readDisk(file);
  return [...(below === undefined ? [] : readChain(below)), ...writes];
}

/** A machine as its process and what is in it. */
export interface FakeMachine {
  spec: MachineSpec;
  port: number;
  /** The file that it writes to. */
  disk: string;
  login: string;
  hostKey: string;
  child: ChildProcess;
}

/** Machines of one test; what is on disks is in files. */
export class FakeQemuWorld {
  readonly machines: FakeMachine[] = [];
  /** Lines of the scripts that ran in machines. */
  readonly ran: string[] = [];
  /** How machines began: "boot" or "resume". */
  readonly starts: ("boot" | "resume")[] = [];
  private hostKeys = 0;

  /** Its process has the arguments by which QEMU's is found, and ends by itself if a test forgets it. */
  async start(spec: MachineSpec): Promise<FakeMachine> {
    const memory = spec.memoryFile === undefined ? undefined : readMemory(spec.memoryFile);
    const disk = spec.disk.path;
    if (memory && JSON.stringify(memory.disk) !== JSON.stringify(readChain(disk)))
      throw new Error(`the memory in ${spec.memoryFile} is that of another disk`);
    const title = `qemu -qmp unix:${path.join(spec.folder, "qmp.sock")},server=on`;
    const child = spawn("sleep", ["60"], { argv0: title, stdio: "ignore" });
    await once(child, "spawn");
    child.unref();
    const { login, hostKey } = memory ?? { login: "", hostKey: `key-${++this.hostKeys}` };
    const machine = { spec, port: 10_000 + this.machines.length, disk, login, hostKey, child };
    this.machines.push(machine);
    this.starts.push(memory ? "resume" : "boot");
    return machine;
  }

  /** As far as this process has heard. */
  listRunning(): FakeMachine[] {
    return this.machines.filter(({ child }) => !hasEnded(child));
  }

  /** Of those that another one has killed the end is heard of a little later. */
  async waitForEnds(): Promise<void> {
    for (const { child } of this.listRunning()) {
      if (readState(child.pid ?? 0) !== "Z") continue;
      child.ref();
      await once(child, "exit");
    }
  }

  /** What no test may leave behind. */
  async killAll(): Promise<void> {
    for (const { child } of this.listRunning()) await kill(child);
  }
}

function readMemory(file: string): Memory {
  return JSON.parse(fs.readFileSync(file, "utf8")) as Memory;
}

export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

export async function kill(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  child.ref();
  child.kill("SIGKILL");
  await once(child, "exit");
}

function readState(pid: number): string | undefined {
  if (!fs.existsSync(`/proc/${pid}/stat`)) return "Z";
  const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3);
}
