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
  const folder = runFolderOf(machineName);
  for (const pid of await findProcesses(folder)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
    while (isThere(pid)) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  fs.rmSync(folder, { recursive: true, force: true });
}

/** Processes of QEMU that have the folder in their command line. */
export async function findProcesses(folder: string): Promise<number[]> {
  if (process.platform === "linux")
    return fs
      .readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && isMachine(readCommand(name), folder))
      .map(Number);
  const lines = (await listCommands()).split("\n");
  return lines.filter((line) => isMachine(line, folder)).map((line) => Number.parseInt(line, 10));
}

function isMachine(command: string, folder: string): boolean {
  return command.includes("qemu") && command.includes(`unix:${folder}${path.sep}`);
}

function readCommand(pid: string): string {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  } catch (error) {
    if (["ENOENT", "ESRCH", "EACCES"].includes((error as NodeJS.ErrnoException).code ?? "")) return "";
    throw error;
  }
}

function listCommands(): Promise<string> {
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
