import * as fs from "node:fs";
import ignore from "ignore";
import { type SourceProblem, describeFailure } from "./source-problems";
import { StatRecords, recordBytes } from "./stat-record";

/** What an entry is, as one small number that threads can share. */
export const entryKind = { file: 0, directory: 1, symlink: 2 } as const;

const batchEntries = 512;
const cursorBytes = 8;

/** Some entries of a walk, with shared memory in which two threads note what they find out about them. */
export class EntryBatch {
  readonly records: StatRecords;
  private readonly cursor: Int32Array;

  constructor(
    /** Relative to the source, "/" separated; "" is the source itself. */
    readonly paths: readonly string[],
    readonly kinds: readonly number[],
    readonly memory = new SharedArrayBuffer(cursorBytes + paths.length * recordBytes),
  ) {
    this.records = new StatRecords(memory, cursorBytes, paths.length);
    this.cursor = new Int32Array(memory, 0, 1);
  }

  /** Takes the next entry that no thread has taken yet. */
  claim(): number | undefined {
    const index = Atomics.add(this.cursor, 0, 1);
    return index < this.paths.length ? index : undefined;
  }
}

/** All entries of a source, each folder before its contents, the contents of a folder in the order of their names' code units. */
export interface Walk {
  batches: EntryBatch[];
  /** Of each entry the numbers of those directly in it, or undefined if it is no folder. */
  children: (number[] | undefined)[];
  /** Paths are relative to the source. */
  problems: SourceProblem[];
}

/** What a caller wants to hear while a walk goes on. */
export interface WalkListener {
  onBatch?(batch: EntryBatch): void;
  /** Hears of each entry as it is read, ignored or not; may throw to end the walk, even in the middle of a folder. */
  onEntry?(): void;
}

/** Walks a source. `root` must not be a symbolic link. Only names are read: what is in the entries is for others, who may begin meanwhile. */
export function walkSource(
  root: string,
  ignorePatterns: readonly string[],
  listener: WalkListener = {},
): Walk {
  const walk: Walk = { batches: [], children: [], problems: [] };
  const isIgnored = compileIgnore(ignorePatterns);
  const onEntry = listener.onEntry && ((): void => listener.onEntry?.());
  let paths: string[] = [];
  let kinds: number[] = [];

  const flush = (): void => {
    const batch = new EntryBatch(paths, kinds);
    walk.batches.push(batch);
    listener.onBatch?.(batch);
    paths = [];
    kinds = [];
  };
  const add = (path: string, kind: number): number => {
    paths.push(path);
    kinds.push(kind);
    const index = walk.children.push(kind === entryKind.directory ? [] : undefined) - 1;
    if (paths.length === batchEntries) flush();
    return index;
  };
  const enter = (path: string, index: number): void => {
    for (const entry of readFolder(root, path, walk.problems, onEntry)) {
      const entryPath = path === "" ? entry.name : `${path}/${entry.name}`;
      const kind = classify(entry);
      if (isIgnored !== undefined && isIgnored(entryPath, kind === entryKind.directory)) continue;
      const reason = findObstacle(entry, `${root}/${path}`);
      if (reason !== undefined || kind === undefined) {
        walk.problems.push({ path: entryPath, reason: reason ?? describeType(entry) });
        continue;
      }
      const child = add(entryPath, kind);
      walk.children[index]?.push(child);
      if (kind === entryKind.directory) enter(entryPath, child);
    }
  };

  const rootStats = fs.lstatSync(root);
  if (rootStats.isDirectory()) enter("", add("", entryKind.directory));
  else if (rootStats.isFile()) add("", entryKind.file);
  else walk.problems.push({ path: "", reason: describeType(rootStats) });
  if (paths.length > 0) flush();
  return walk;
}

function readFolder(
  root: string,
  path: string,
  problems: SourceProblem[],
  onEntry?: () => void,
): fs.Dirent[] {
  try {
    const entries = listFolder(`${root}/${path}`, onEntry);
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    problems.push(describeFailure(path, error));
    return [];
  }
}

/** One by one is slower, but a folder may hold more than a caller has time for. */
function listFolder(fullPath: string, onEntry?: () => void): fs.Dirent[] {
  if (onEntry === undefined) return fs.readdirSync(fullPath, { withFileTypes: true });
  const entries: fs.Dirent[] = [];
  const folder = fs.opendirSync(fullPath);
  try {
    for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) {
      onEntry();
      entries.push(entry);
    }
  } finally {
    folder.closeSync();
  }
  return entries;
}

/** By gitignore's rules: a folder that is ignored is never entered, so nothing in it can be included again. */
function compileIgnore(
  patterns: readonly string[],
): ((path: string, isFolder: boolean) => boolean) | undefined {
  if (patterns.length === 0) return undefined;
  // Git ignores case only where the file system does; an image must not depend on that.
  const rules = ignore({ ignorecase: false }).add([...patterns]);
  return (path, isFolder) => rules.ignores(isFolder ? `${path}/` : path);
}

function classify(entry: fs.Dirent): number | undefined {
  if (entry.isFile()) return entryKind.file;
  if (entry.isDirectory()) return entryKind.directory;
  return entry.isSymbolicLink() ? entryKind.symlink : undefined;
}

function describeType(entry: Pick<fs.Dirent, "isSocket" | "isFIFO">): string {
  const type = entry.isSocket() ? "socket" : entry.isFIFO() ? "FIFO" : "device";
  return `is a ${type}, which an image cannot hold. Remove it or add it to \`ignore\``;
}

/** Node replaces what is not UTF-8, so two such names could look alike, and neither could be opened. */
function findObstacle(entry: fs.Dirent, folder: string): string | undefined {
  if (!entry.name.includes("\uFFFD")) return undefined;
  const isReal = fs.readdirSync(folder, "buffer").some((name) => name.equals(Buffer.from(entry.name)));
  return isReal ? undefined : "has a name that is not UTF-8. Rename it or add it to `ignore`";
}
