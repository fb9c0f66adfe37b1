import * as fs from "node:fs";

/** Who on this machine has the file open, as far as that can be seen: a machine that runs from it needs it. */
export function findProcessUsing(file: string): string | undefined {
  if (process.platform !== "linux") return undefined;
  const wanted = fs.statSync(file, { throwIfNoEntry: false });
  if (!wanted) return undefined;
  for (const pid of fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    if (Number(pid) !== process.pid && hasOpen(pid, wanted)) return `process ${pid} (${readName(pid)})`;
  }
  return undefined;
}

/** Processes come and go, and others' cannot be looked into. */
function hasOpen(pid: string, wanted: fs.Stats): boolean {
  try {
    return fs.readdirSync(`/proc/${pid}/fd`).some((name) => {
      const stats = fs.statSync(`/proc/${pid}/fd/${name}`, { throwIfNoEntry: false });
      return stats?.ino === wanted.ino && stats.dev === wanted.dev;
    });
  } catch (error) {
    if (
      ["ENOENT", "ESRCH", "EACCES", "EPERM", "ENOTCONN", "ESTALE", "EIO"].includes(
        (error as NodeJS.ErrnoException).code ?? "",
      )
    )
      return false;
    throw error;
  }
}

function readName(pid: string): string {
  try {
    return fs.readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "ended meanwhile";
    throw error;
  }
}
