// What a build takes from the user's disk, and its hash. Start here: source-walk.ts finds the entries, source-hash.ts
// hashes them, source-merkle.ts adds the folders, source-threads.ts spreads the work, stat-cache.ts saves most of it.
import { createHash } from "node:crypto";
import { realpathSync } from "node:fs";
import * as path from "node:path";
import { setImmediate } from "node:timers/promises";
import { cacheFolder } from "./folders";
import { type SourceNode, cutNodes } from "./source-cut";
import { type SourceJob, type SourceOutcome, tryJobInline } from "./source-job";
import type { SourceEntry, SourceSummary } from "./source-merkle";
import { type SourceProblem, SourceProblems, describeFailure } from "./source-problems";
import { runJobInThreads } from "./source-threads";

export { hashRoot, type SourceEntry } from "./source-merkle";
export { type SourceProblem, SourceProblems } from "./source-problems";

/** A local path whose contents belong to the image. */
export interface SourceSpec {
  /** As the user wrote it: absolute, or relative to the program's folder. */
  path: string;
  /** What to leave out of a folder: patterns of .gitignore, relative to it. Case matters on every system. */
  ignore?: readonly string[];
}

/** The contents of a source, as far as a fingerprint and a preview need them. */
export interface SourceTree {
  /** Relative to the program's folder, "/" separated, without a slash at the end; "." for that folder itself. */
  path: string;
  kind: "file" | "directory";
  /** SHA-256 in hex of contents, names, links and who may execute; see {@link hashRoot}. */
  hash: string;
  /** Files and symbolic links. */
  fileCount: number;
  sizeBytes: number;
  /** The top of its Merkle tree, for {@link cutTrees}. */
  top: SourceNode;
}

/** Where sources are looked for, and how. */
export interface SourceOptions {
  /** The program's folder. */
  cwd: string;
  /** Where to keep hashes for the next run. Default: the user's cache folder. */
  cacheDir?: string;
  /** Ends the work, its threads included; the promise is rejected with the signal's reason. */
  signal?: AbortSignal;
}

/**
 * Hashes what goes into an image. The result depends on nothing but contents, names, links and who may execute.
 * Throws {@link SourceProblems} with all that is wrong in any of the sources.
 */
export async function hashSources(
  specs: readonly SourceSpec[],
  options: SourceOptions,
): Promise<SourceTree[]> {
  const trees: SourceTree[] = [];
  const problems: SourceProblem[] = [];
  let omittedCount = 0;
  for (const spec of specs) {
    const outcome = await readSource(spec, options, false);
    if ("problems" in outcome) {
      problems.push(...outcome.problems);
      omittedCount += outcome.omittedCount;
    } else {
      trees.push(nameTree(describePath(spec, options.cwd), outcome.summary));
    }
  }
  if (problems.length > 0) throw new SourceProblems(problems, omittedCount);
  return trees;
}

/**
 * Every entry of a source with its hash: first the source itself, each folder before its contents, those in the order
 * of their names' code units. `hashRoot` of the first entry equals the source's hash, so an upload can tell whether it
 * sends what was fingerprinted. Throws {@link SourceProblems}.
 */
export async function listSource(spec: SourceSpec, options: SourceOptions): Promise<SourceEntry[]> {
  const outcome = await readSource(spec, options, true);
  if ("problems" in outcome) throw new SourceProblems(outcome.problems, outcome.omittedCount);
  return outcome.entries;
}

/**
 * Paths and short hashes that together stand for all of the sources: of small ones each file (`app/main.py`), of large
 * ones each folder (`app/static/`), the top first. A source that is named twice with different contents appears
 * under `name` and `name#2`.
 */
export function cutTrees(
  trees: readonly { name: string; tree: SourceTree }[],
  limit = 256,
): Record<string, string> {
  const hashes = new Map<string, string>();
  const named = [];
  for (const { name, tree } of trees) {
    const plain = name.replace(/(?<=.)\/+$/, "");
    let unique = plain;
    for (let n = 2; hashes.has(unique) && hashes.get(unique) !== tree.hash; n++) unique = `${plain}#${n}`;
    if (hashes.has(unique)) continue;
    hashes.set(unique, tree.hash);
    named.push({ name: unique, node: tree.top });
  }
  if (named.length <= limit) return cutNodes(named, limit);
  const rest = named.splice(limit - 1);
  const restHash = createHash("sha256").update(
    JSON.stringify(rest.map(({ name }) => [name, hashes.get(name)])),
  );
  return {
    ...cutNodes(named, limit - 1),
    [`… ${rest.length} more sources`]: restHash.digest("hex").slice(0, 12),
  };
}

async function readSource(spec: SourceSpec, options: SourceOptions, list: boolean): Promise<SourceOutcome> {
  options.signal?.throwIfAborted();
  const name = describePath(spec, options.cwd);
  let outcome: SourceOutcome | undefined;
  try {
    const job: SourceJob = {
      root: realpathSync(path.resolve(options.cwd, spec.path)),
      ignore: spec.ignore ?? [],
      cacheDir: options.cacheDir ?? cacheFolder(),
      startedMs: Date.now(),
      list,
    };
    // Many small sources in a row must not keep the program from everything else.
    await setImmediate();
    outcome = tryJobInline(job) ?? (await runJobInThreads(job, options.signal));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).errno === undefined) throw error;
    outcome = { problems: [describeFailure("", error)], omittedCount: 0 };
  }
  if ("summary" in outcome) return outcome;
  return {
    ...outcome,
    problems: outcome.problems.map((problem) => ({ ...problem, path: joinName(name, problem.path) })),
  };
}

function nameTree(name: string, summary: SourceSummary): SourceTree {
  return { path: name, ...summary };
}

/** Never absolute: what is on another drive goes by its last part. */
function describePath(spec: SourceSpec, cwd: string): string {
  const relative = path.relative(cwd, path.resolve(cwd, spec.path));
  const name = path.isAbsolute(relative) ? path.basename(relative) : relative;
  return path.sep === "\\" ? name.replaceAll("\\", "/") || "." : name || ".";
}

function joinName(name: string, entryPath: string): string {
  if (entryPath === "") return name;
  return name === "." ? entryPath : `${name}/${entryPath}`;
}
