import type { MessagePort } from "node:worker_threads";
import { EntryHasher } from "./source-hash";
import { MerkleTree, type SourceEntry, type SourceSummary } from "./source-merkle";
import { type SourceProblem, cutProblems } from "./source-problems";
import { type Walk, entryKind, walkSource } from "./source-walk";
import {
  type StatCache,
  type StatCacheFile,
  loadStatCache,
  locateStatCache,
  saveStatCache,
  touchStatCache,
} from "./stat-cache";
import { recordBytes, recordState } from "./stat-record";

/** One source to be hashed. Plain data, since a thread may be given it. */
export interface SourceJob {
  /** Its real absolute path. */
  root: string;
  ignore: readonly string[];
  cacheDir: string;
  /** A time before the job begins: what changed shortly before it, or since, is not put into the cache. */
  startedMs: number;
  /** Whether every entry is wanted, not only the summary. */
  list: boolean;
}

/** What came of a job: a summary, or what stands in its way. */
export type SourceOutcome =
  { summary: SourceSummary; entries: SourceEntry[] } | { problems: SourceProblem[]; omittedCount: number };

/** What the first thread says: entries in portions, then what came of the job. */
export type LeadMessage = { entries: SourceEntry[] } | { outcome: SourceOutcome } | { failure: unknown };

/** What the second thread found out beyond what it noted in shared memory. */
export interface HelperReport {
  problems: SourceProblem[];
  targets: Map<string, string>;
}

const inlineEntries = 200;
const inlineFileBytes = 1024 * 1024;
/** About what it costs to start a thread. */
const inlineMs = 25;

/** Hashes a source on the spot if that takes less time than to start a thread; otherwise answers undefined, having spent a few milliseconds. */
export function tryJobInline(job: SourceJob, limitMs = inlineMs): SourceOutcome | undefined {
  const endMs = performance.now() + limitMs;
  let entries = 0;
  const check = (sizeBytes: number): void => {
    if (entries > inlineEntries || sizeBytes > inlineFileBytes || performance.now() > endMs)
      throw new TooMuchInline();
  };
  try {
    const walk = walkSource(job.root, job.ignore, { onEntry: () => (entries++, check(0)) });
    const hasher = new EntryHasher(job.root, job.startedMs, undefined, check);
    for (const batch of walk.batches) hasher.hashBatch(batch);
    return finishJob(job, walk, [hasher]);
  } catch (error) {
    if (error instanceof TooMuchInline) return undefined;
    throw error;
  }
}

class TooMuchInline extends Error {}

/** Hashes a source with the help of a second thread, which begins while this one still walks. */
export async function runJob(job: SourceJob, helper: MessagePort): Promise<SourceOutcome> {
  helper.postMessage({ job });
  const walk = walkSource(job.root, job.ignore, {
    onBatch: ({ paths, kinds, memory }) => helper.postMessage({ batch: { paths, kinds, memory } }),
  });
  helper.postMessage({ end: true });
  const report = new Promise<HelperReport>((resolve) => helper.once("message", resolve));
  const file = locateStatCache(job.cacheDir, job.root, job.ignore);
  const cache = loadStatCache(file);
  const hasher = new EntryHasher(job.root, job.startedMs, cache);
  // From the end, since the other thread comes from the beginning.
  for (const batch of [...walk.batches].reverse()) hasher.hashBatch(batch);
  const outcome = finishJob(job, walk, [hasher, await report]);
  updateCache(file, cache, walk, job.startedMs);
  return outcome;
}

function finishJob(job: SourceJob, walk: Walk, reports: readonly HelperReport[]): SourceOutcome {
  const problems = [walk.problems, ...reports.map((report) => report.problems)].flat();
  if (problems.length > 0) return cutProblems(problems);
  const tree = new MerkleTree(walk, new Map(reports.flatMap(({ targets }) => [...targets])));
  return { summary: tree.summarize(), entries: job.list ? tree.list(0, Infinity) : [] };
}

function updateCache(file: StatCacheFile, cache: StatCache, walk: Walk, nowMs: number): void {
  const kept: Uint8Array[] = [];
  let isChanged = false;
  for (const { kinds, records } of walk.batches) {
    for (const [at, kind] of kinds.entries()) {
      const state = records.state(at);
      if (kind !== entryKind.file || (state !== recordState.cached && state !== recordState.settled))
        continue;
      if (state === recordState.settled) isChanged = true;
      kept.push(records.record(at));
    }
  }
  if (!isChanged && kept.length === cache.records.count) return touchStatCache(file, nowMs);
  const bytes = new Uint8Array(kept.length * recordBytes);
  for (const [i, record] of kept.entries()) bytes.set(record, i * recordBytes);
  saveStatCache(file, bytes);
}
