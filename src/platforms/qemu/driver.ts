/** What is needed of QEMU: its two programs, and a machine that runs and can be reached. */
import type { ConnectOptions } from "../../communicators/ssh";
import type { SshOptions } from "../../communicators/ssh-options";
import type { Communicator } from "../../core/model";

/** A disk, by its file and its declared format. */
export interface Disk {
  path: string;
  format: string;
}

export interface DiskDetails {
  virtualSizeBytes: number;
  /** It stands on another file: what one would copy of it is not all. */
  standsOn?: string;
}

export type DiskInterface = "virtio" | "virtio-scsi" | "ide" | "sata";

/** Everything a machine consists of. Two machines of the same specification can go on from each other's memory. */
export interface MachineSpec {
  /** Shown in the list of processes. */
  name: string;
  /** Of this machine alone; only the user may enter it. */
  folder: string;
  binary: string;
  accelerator: string;
  machineType: string;
  cpuModel: string;
  cpus: number;
  memoryBytes: number;
  disk: Disk;
  additionalDisks: Disk[];
  diskInterface: DiskInterface;
  netDevice: string;
  /** Port in the machine that a free one on 127.0.0.1 leads to. */
  forwardedPort: number;
  cds: string[];
  floppy?: string;
  firmware?: { code: string; variables: string };
  bootsFrom: "disk" | "cd";
  isHeadless: boolean;
  moreArguments: string[][];
  /** Memory to go on from. */
  memoryFile?: string;
}

export interface ConvertOptions {
  source: Disk;
  target: Disk;
  /** Leave it standing on this. */
  backing?: Disk;
  compress: boolean;
  onProgress: (percent: number) => void;
  signal: AbortSignal;
}

export interface QemuDriver {
  /** Of the program that runs machines; part of what a saved one is bound to. */
  readVersion(binary: string, signal: AbortSignal): Promise<string>;
  /** Whether machines run with it here; an answer that takes too long is a no. */
  canAccelerate(binary: string, accelerator: string, cpuModel: string): Promise<boolean>;
  createDisk(disk: Disk, sizeBytes: number, signal: AbortSignal): Promise<void>;
  createOverlay(path: string, below: Disk, sizeBytes: number | undefined, signal: AbortSignal): Promise<void>;
  inspectDisk(disk: Disk, signal: AbortSignal): Promise<DiskDetails>;
  /** Lets an overlay stand on a disk further below; what was between comes into it. */
  rebaseDisk(path: string, onto: Disk, signal: AbortSignal): Promise<void>;
  convertDisk(options: ConvertOptions): Promise<void>;
  startMachine(spec: MachineSpec, signal: AbortSignal): Promise<QemuMachine>;
  /** Waits until the machine lets us in. */
  connect(options: SshOptions, target: ConnectOptions): Promise<MachineConnection>;
}

export interface MachineConnection extends Communicator {
  /** The key that the machine has shown. */
  readonly hostKey: string;
}

export interface QemuMachine {
  readonly pid: number;
  readonly hasEnded: boolean;
  /** The port on 127.0.0.1 that leads to `forwardedPort`. */
  findPort(): Promise<number>;
  pressKeys(events: readonly { code: string; down: boolean }[]): Promise<void>;
  /** Writes its memory to the file, and goes on with its disk in the overlay, which must exist: what it had so far stays as it is. */
  save(memoryFile: string, overlay: string, whileStopped: () => void, signal: AbortSignal): Promise<void>;
  pressPowerButton(): Promise<void>;
  /** Waits for its end. */
  waitUntilEnded(signal: AbortSignal): Promise<void>;
  /** Its console's last screen, as far as that is text, and the end of what it wrote to its serial port. */
  describeConsole(): Promise<string>;
  kill(): Promise<void>;
}
