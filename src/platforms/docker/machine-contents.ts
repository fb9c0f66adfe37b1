/** What a running container holds that a commit of it does not: processes, and what lies in other file systems. */
import type { DockerDriver } from "./driver";

/**
 * Lists processes, and the contents of all that is mounted and can be written: volumes, tmpfs, /dev/shm, /etc/hosts. With
 * nothing but a shell and `ls`; where that is missing, nothing can be told.
 */
const LISTING = `command -v ls >/dev/null || exit 3
for p in /proc/[0-9]*; do [ "$p" = "/proc/$$" ] || { read -r s <"$p/stat" && echo "process $s"; } 2>/dev/null; done
while read -r _ m _ o _; do
case $m in /|/proc|/proc/*|/sys|/sys/*|/dev|/dev/pts|/dev/console) continue;; esac
echo "mount $m"
case $o in ro|ro,*) continue;; esac
ls -lnRA --full-time "$m" 2>/dev/null || ls -lnRA "$m" 2>&1
done </proc/mounts
exit 0`;

export interface MachineContents {
  processes: { pid: number; parent: number; name: string }[];
  /** A listing by mount point. */
  mounts: Record<string, string>;
}

/** Undefined if the machine cannot tell. */
export async function readContents(
  driver: DockerDriver,
  container: string,
  signal: AbortSignal,
): Promise<MachineContents | undefined> {
  const output: Buffer[] = [];
  const exitCode = await driver.runCommand(container, {
    argv: ["/bin/sh", "-c", LISTING],
    user: "0",
    environment: [],
    onOutput: (chunk) => output.push(chunk),
    signal,
  });
  return exitCode === 0 ? parseContents(Buffer.concat(output).toString()) : undefined;
}

export function parseContents(text: string): MachineContents {
  const contents: MachineContents = { processes: [], mounts: {} };
  let mount: string | undefined;
  for (const line of text.split("\n").filter((each) => each !== "")) {
    const [, pid, name = "", state, parent] = /^process (\d+) \((.*)\) (\S) (\d+)/.exec(line) ?? [];
    if (pid !== undefined && mount === undefined) {
      // A zombie has ended: it only waits to be noticed.
      if (state !== "Z") contents.processes.push({ pid: Number(pid), parent: Number(parent), name });
    } else if (line.startsWith("mount ")) contents.mounts[(mount = line.slice("mount ".length))] = "";
    else if (mount !== undefined) contents.mounts[mount] = `${contents.mounts[mount] ?? ""}${line}\n`;
  }
  return contents;
}

/** What of it a stage could not hold, as words that follow "after the step": compared with what there was before. */
export function explainObstacle(
  before: MachineContents | undefined,
  now: MachineContents | undefined,
): string | undefined {
  if (!before || !now) return "it cannot be told what lives on, since the machine has no `ls`";
  const known = new Set(before.processes.map(({ pid }) => pid));
  const sleeper = findSleeper(now);
  const left = now.processes.filter(({ pid }) => pid !== 1 && pid !== sleeper && !known.has(pid));
  if (left.length > 0) return `a process lives on (${left.map(({ name }) => name).join(", ")})`;
  const mounts = new Set([...Object.keys(before.mounts), ...Object.keys(now.mounts)]);
  const changed = [...mounts].find((mount) => before.mounts[mount] !== now.mounts[mount]);
  return changed === undefined ? undefined : `${changed} has content that is not saved with the machine`;
}

/** The first process that the container's own shell started: it may not have been there yet when one looked before. */
function findSleeper({ processes }: MachineContents): number | undefined {
  const children = processes.filter(({ parent, name }) => parent === 1 && name === "sleep");
  return children.sort((a, b) => a.pid - b.pid)[0]?.pid;
}
