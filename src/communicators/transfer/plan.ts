import * as fs from "node:fs";
import * as path from "node:path";
import { setImmediate } from "node:timers/promises";
import { sha256Hex } from "../../core/content-hash";
import type { LocalSource } from "../../core/model";
import { listSource } from "../../core/source-tree";
import { entryKind, walkSource } from "../../core/source-walk";
import { cacheFolder } from "../../core/folders";
import { loadStatCache, locateStatCache } from "../../core/stat-cache";
import { hashPath } from "../../core/stat-record";
import { quote } from "../ssh-command";
import { ChangedFileError } from "./changed-file";
import { PlannedEntry } from "./planned-entry";

/** What is sent, in the order in which it is. */
export interface Plan {
  isFolder: boolean;
  entries: readonly PlannedEntry[];
  files: readonly PlannedEntry[];
  sizeBytes: number;
  /** How people know it. */
  title: string;
}

/** Up to here it is quicker to read the files on the spot, as they are sent, than to have threads hash them first. */
const SMALL_SOURCE_BYTES = 64 * 1024 * 1024;
const HASH_SLICE_MS = 20;

/** Lists a source. Hashes of a small one may be left open: whoever reads the files finds them out, or `hashFiles` does. */
export async function planUpload(local: LocalSource, cwd: string, signal: AbortSignal): Promise<Plan> {
  if ("content" in local) {
    const { content, mode } = local;
    const entry = new PlannedEntry(
      "",
      "",
      "file",
      mode,
      Date.now(),
      content.length,
      sha256Hex(content),
      undefined,
    );
    entry.content = content;
    return makePlan("a text", false, [entry]);
  }
  const root = fs.realpathSync(path.resolve(cwd, local.path));
  // A single file cannot be hashed by several threads: while it is sent is soon enough.
  const mostBytes = fs.statSync(root).isFile() ? Infinity : SMALL_SOURCE_BYTES;
  const entries =
    (await surveySource(root, local.ignore ?? [], mostBytes)) ??
    (await listSource(local, { cwd, signal })).map(
      ({ path, kind, mode, mtimeMs, sizeBytes, hash, target }) =>
        new PlannedEntry(root, path, kind, mode, mtimeMs, sizeBytes, hash, target),
    );
  const isFolder = entries[0]?.kind === "directory";
  if (isFolder) entries.shift();
  let odd = 0;
  for (const entry of entries) if (entry.hasOddName) entry.oddNumber = odd++;
  return makePlan(local.path, isFolder, entries);
}

const KINDS = {
  [entryKind.file]: "file",
  [entryKind.directory]: "directory",
  [entryKind.symlink]: "symlink",
} as const;

/**
 * All entries of a source, with the hashes that are known from when it was last hashed; undefined if it has more than
 * `mostBytes`, or problems that `listSource` can name.
 */
async function surveySource(
  root: string,
  ignore: readonly string[],
  mostBytes: number,
): Promise<PlannedEntry[] | undefined> {
  const { batches, problems } = walkSource(root, ignore);
  if (problems.length > 0) return undefined;
  const known = loadStatCache(locateStatCache(cacheFolder(), root, ignore));
  const entries: PlannedEntry[] = [];
  let totalBytes = 0;
  for (const { paths, kinds } of batches) {
    await setImmediate(); // the connection wants to be served meanwhile
    for (let at = 0; at < paths.length; at++) {
      const inner = paths[at] as string;
      const file = inner === "" ? root : `${root}/${inner}`;
      const stats = fs.lstatSync(file, { throwIfNoEntry: false });
      if (!stats) return undefined;
      const kind = KINDS[kinds[at] as keyof typeof KINDS];
      const sizeBytes = kind === "file" ? stats.size : 0;
      if ((totalBytes += sizeBytes) > mostBytes) return undefined;
      const hash = kind === "file" ? known.findHex(hashPath(inner), stats) : undefined;
      const target = kind === "symlink" ? fs.readlinkSync(file) : undefined;
      entries.push(
        new PlannedEntry(
          root,
          inner,
          kind,
          stats.mode & 0o7777,
          stats.mtimeMs,
          sizeBytes,
          hash ?? "",
          target,
        ),
      );
    }
  }
  return entries;
}

/** Finds out the hashes that are still open, and tells of the files as far as it is. */
export async function* hashFiles(
  files: readonly PlannedEntry[],
  signal: AbortSignal,
): AsyncGenerator<PlannedEntry[]> {
  let done: PlannedEntry[] = [];
  let sliceEnd = performance.now() + HASH_SLICE_MS;
  for (const entry of files) {
    if (entry.hash === "") entry.hash = await hashFile(entry, signal);
    done.push(entry);
    if (performance.now() < sliceEnd) continue;
    await setImmediate();
    yield done;
    done = [];
    sliceEnd = performance.now() + HASH_SLICE_MS;
  }
  yield done;
}

async function hashFile(planned: PlannedEntry, signal: AbortSignal): Promise<string> {
  const { file = "", sizeBytes, mtimeMs } = planned;
  if (sizeBytes <= SMALL_SOURCE_BYTES) return sha256Hex(fs.readFileSync(file));
  const [entry] = await listSource({ path: file }, { cwd: path.sep, signal });
  if (entry?.sizeBytes !== sizeBytes || entry.mtimeMs !== mtimeMs) throw new ChangedFileError(file);
  return entry.hash;
}

function makePlan(title: string, isFolder: boolean, entries: PlannedEntry[]): Plan {
  const files = entries.filter(({ kind }) => kind === "file");
  return {
    title,
    isFolder,
    entries,
    files,
    sizeBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  };
}

export async function hashAll(files: readonly PlannedEntry[], signal: AbortSignal): Promise<void> {
  const slices = hashFiles(files, signal);
  while (!(await slices.next()).done);
}

/** Files of ordinary names by mode: what is there already gets its mode all the same. */
export function groupByMode(files: readonly PlannedEntry[]): PlannedEntry[] {
  return files.filter(({ isOdd }) => !isOdd).sort((a, b) => a.mode - b.mode);
}

/** `mode:count` for each run of a mode. */
export function formatModes(sorted: readonly PlannedEntry[]): string {
  const counts = new Map<number, number>();
  for (const { mode } of sorted) counts.set(mode, (counts.get(mode) ?? 0) + 1);
  return [...counts].map(([mode, count]) => `${formatMode(mode)}:${count}`).join(" ");
}

/**
 * Shell commands for what lists of names cannot say: entries with odd names, and modes under which nothing could have
 * been unpacked. Run where the entries' names begin; `$ODD` is the folder with the numbered ones.
 */
export function formatLastCommands(plan: Plan): string {
  const lines = [];
  for (const { isOdd, kind, name, staged, stagedMode } of plan.entries) {
    if (!isOdd) continue;
    const from = `"$ODD/${staged.slice("odd/".length)}"`;
    const to = quote(name);
    if (kind === "directory") lines.push(`mkdir -p -m ${formatMode(stagedMode)} ${to}`);
    else {
      // mv would go through a link to a folder.
      lines.push(`[ ! -L ${to} ] || rm -f ${to}`, `[ ! -d ${to} ]`, `mv -f ${from} ${to}`);
    }
  }
  // From the end: a folder loses its permissions after what is in it.
  for (const entry of [...plan.entries].reverse()) {
    if (entry.kind !== "symlink" && entry.stagedMode !== entry.mode)
      lines.push(`chmod ${formatMode(entry.mode)} ${quote(entry.name)}`);
  }
  return lines.length === 0 ? "" : `set -e\n${lines.join("\n")}\n`;
}

export function formatMode(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}
