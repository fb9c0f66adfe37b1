import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { StringDecoder } from "node:string_decoder";
import { connectSsh, type ConnectOptions } from "../../communicators/ssh";
import type { SshOptions } from "../../communicators/ssh-options";
import { runLocal } from "../../core/exec";
import { probeAccelerator } from "./accelerator-probe";
import type { ConvertOptions, Disk, DiskDetails, MachineConnection, MachineSpec, QemuDriver } from "./driver";
import { formatMachineArguments, socketPath } from "./machine-arguments";
import { RunningMachine } from "./qemu-machine";
import { QmpClient } from "./qmp";

const MOST_COROUTINES = 16;

/** QEMU as it is installed on this machine. */
export class LocalQemuDriver implements QemuDriver {
  private readonly versions = new Map<string, Promise<string>>();
  private readonly probes = new Map<string, Promise<boolean>>();

  readVersion(binary: string, signal: AbortSignal): Promise<string> {
    return remember(this.versions, binary, async () => {
      const text = await runProgram([binary, "--version"], signal);
      const version = /version (\S+)/.exec(text)?.[1];
      if (version === undefined)
        throw new Error(`Asking ${binary} for its version: it says "${text.trim()}"`);
      return version;
    });
  }

  canAccelerate(binary: string, accelerator: string, cpuModel: string): Promise<boolean> {
    return remember(this.probes, `${binary} ${accelerator} ${cpuModel}`, () =>
      probeAccelerator(binary, accelerator, cpuModel),
    );
  }

  async createDisk({ path: file, format }: Disk, sizeBytes: number, signal: AbortSignal): Promise<void> {
    await runProgram(["qemu-img", "create", "-q", "-f", format, file, String(sizeBytes)], signal);
    fs.chmodSync(file, 0o600);
  }

  async createOverlay(
    file: string,
    below: Disk,
    sizeBytes: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const size = sizeBytes === undefined ? [] : [String(sizeBytes)];
    await runProgram(
      ["qemu-img", "create", "-q", "-f", "qcow2", "-F", below.format, "-b", below.path, file, ...size],
      signal,
    );
    fs.chmodSync(file, 0o600);
  }

  async inspectDisk({ path: file, format }: Disk, signal: AbortSignal): Promise<DiskDetails> {
    const text = await runProgram(
      ["qemu-img", "info", "--force-share", "--output=json", "-f", format, file],
      signal,
    );
    const info = JSON.parse(text) as {
      "virtual-size": number;
      "backing-filename"?: string;
      "full-backing-filename"?: string;
      "format-specific"?: { data?: { "data-file"?: string } };
    };
    const backing = info["full-backing-filename"] ?? info["backing-filename"];
    const standsOn = backing ?? info["format-specific"]?.data?.["data-file"];
    return { virtualSizeBytes: info["virtual-size"], ...(standsOn === undefined ? {} : { standsOn }) };
  }

  async rebaseDisk(file: string, onto: Disk, signal: AbortSignal): Promise<void> {
    await runProgram(["qemu-img", "rebase", "-f", "qcow2", "-F", onto.format, "-b", onto.path, file], signal);
  }

  async convertDisk({
    source,
    target,
    backing,
    compress,
    onProgress,
    signal,
  }: ConvertOptions): Promise<void> {
    const settings = [
      ...(compress ? ["compression_type=zstd"] : []),
      ...(target.format === "qcow2" ? ["lazy_refcounts=off"] : []),
    ];
    await runProgram(
      [
        "qemu-img", "convert", "-p", "-W", "-m", String(Math.min(MOST_COROUTINES, 8 * os.availableParallelism())),
        "-f", source.format, "-O", target.format,
        ...(compress ? ["-c"] : []),
        ...(settings.length > 0 ? ["-o", settings.join(",")] : []),
        ...(backing ? ["-B", backing.path, "-F", backing.format] : []),
        source.path, target.path,
      ], // prettier-ignore
      signal,
      (text) => {
        const percent = /\(([\d.]+)\/100%\)\s*$/.exec(text)?.[1];
        if (percent !== undefined) onProgress(Number(percent));
      },
    );
  }

  connect(options: SshOptions, target: ConnectOptions): Promise<MachineConnection> {
    return connectSsh(options, target);
  }

  async startMachine(spec: MachineSpec, signal: AbortSignal): Promise<RunningMachine> {
    const log = path.join(spec.folder, "qemu.log");
    const output = fs.openSync(log, "a", 0o600);
    // A group of its own: Ctrl-C in the terminal is for the program, which ends the machine in its own way.
    const child = spawn(spec.binary, formatMachineArguments(spec), {
      // Paths in the user's own arguments are from the program's folder, as all are.
      cwd: process.cwd(),
      stdio: ["ignore", output, output],
      detached: true,
    });
    fs.closeSync(output);
    child.unref();
    let failure: Error | undefined;
    child.on("error", (error) => (failure = error));
    const isDead = (): boolean =>
      failure !== undefined || child.exitCode !== null || child.signalCode !== null;
    const kill = (): void => void child.kill("SIGKILL");
    try {
      const qmp = await QmpClient.connect(socketPath(spec.folder), isDead, signal);
      const machine = new RunningMachine(child, qmp, spec.folder);
      if (spec.memoryFile !== undefined) await machine.goOn(signal);
      return machine;
    } catch (error) {
      kill();
      throw explainStart(spec, failure ?? error, log);
    }
  }
}

function explainStart(spec: MachineSpec, error: unknown, log: string): Error {
  if ((error as NodeJS.ErrnoException).code === "ENOENT") return explainMissing(spec.binary, error);
  const said = fs.existsSync(log) ? fs.readFileSync(log, "utf8").trim() : "";
  const reason = said === "" ? (error as Error).message : said;
  return new Error(`Starting a machine with ${spec.binary}: ${reason}`, { cause: error });
}

function explainMissing(program: string, cause: unknown): Error {
  return new Error(
    `Running ${program}: it is not installed. Install QEMU (Debian and Ubuntu: qemu-system-x86 and qemu-utils; macOS: brew install qemu)`,
    { cause },
  );
}

/** What a program writes; rejects with the end of it. */
async function runProgram(
  argv: [string, ...string[]],
  signal: AbortSignal,
  onText: (text: string) => void = () => undefined,
): Promise<string> {
  let text = "";
  const decoder = new StringDecoder("utf8");
  const onOutput = (chunk: Buffer): void => {
    text += decoder.write(chunk);
    onText(text);
  };
  try {
    const code = await runLocal({ argv, cwd: process.cwd(), signal, onOutput });
    if (code === 0) return text;
  } catch (error) {
    const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
    if (cause?.code === "ENOENT") throw explainMissing(argv[0], error);
    throw error;
  }
  throw new Error(`Running ${argv.join(" ")}: ${text.trim().split("\n").slice(-3).join("; ")}`);
}

function remember<T>(known: Map<string, Promise<T>>, key: string, ask: () => Promise<T>): Promise<T> {
  const before = known.get(key);
  if (before) return before;
  const answer = ask();
  known.set(key, answer);
  answer.catch(() => known.delete(key));
  return answer;
}
