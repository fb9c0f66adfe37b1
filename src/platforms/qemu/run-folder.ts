/** Where a running machine of a build has its socket and its logs, and how to find and end it by its name alone. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { execFile } from "node:child_process";

const POLL_MS = 20;

/** The machine's name, from which all else follows. */
export function nameMachine(buildId: string): string {
  return `kiln-${buildId}`;
}

/** Short: the path of a socket has at most 107 characters. */
export function runFolderOf(machineName: string): string {
  return path.join(os.tmpdir(), `${machineName}-qemu`);
}

/** Ends QEMU's process, whoever started it, and removes the folder. Nothing there is success. */
export async function stopMachine(machineName: string): Promise<void> {
  const processes = await findProcesses(machineName);
  for (const { pid } of processes) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
    while (isThere(pid)) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  for (const folder of [runFolderOf(machineName), ...processes.map((one) => one.folder)])
    fs.rmSync(folder, { recursive: true, force: true });
}

/** Processes of QEMU for this machine, with their folders: the temporary folder may have been another one then. */
export async function findProcesses(machineName: string): Promise<{ pid: number; folder: string }[]> {
  return (await listCommands()).flatMap(({ pid, command }) => {
    const folder = findFolder(command, machineName);
    return folder === undefined ? [] : [{ pid, folder }];
  });
}

/** By the argument with QEMU's socket, in which commas are doubled. */
function findFolder(command: string, machineName: string): string | undefined {
  const name = path.basename(runFolderOf(machineName));
  const end = command.indexOf(`${path.sep}${name}${path.sep}qmp.sock,`);
  const start = command.lastIndexOf("unix:", end);
  if (end < 0 || start < 0 || !command.includes("qemu")) return undefined;
  return path.join(command.slice(start + "unix:".length, end).replaceAll(",,", ","), name);
}

async function listCommands(): Promise<{ pid: number; command: string }[]> {
  if (process.platform !== "linux")
    return (await listByProgram())
      .split("\n")
      .map((line) => ({ pid: Number.parseInt(line, 10), command: line }));
  return fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), command: readCommand(name) }));
}

function readCommand(pid: string): string {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch (error) {
    if (["ENOENT", "ESRCH", "EACCES"].includes((error as NodeJS.ErrnoException).code ?? "")) return "";
    throw error;
  }
}

function listByProgram(): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile("ps", ["-axww", "-o", "pid=,args="], { maxBuffer: 64 * 2 ** 20 }, (error, stdout) =>
      error ? reject(error) : resolve(stdout),
    );
  });
}

/** One that has ended and was not yet waited for holds nothing any more. */
function isThere(pid: number): boolean {
  if (process.platform === "linux") {
    const state = readStat(pid);
    return state !== undefined && state !== "Z" && state !== "X";
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

function readStat(pid: number): string | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2, stat.lastIndexOf(")") + 3);
  } catch (error) {
    if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}
