/** Runs the sequences of post-processors: each starts from the builder's artifact, inside one each gets what the one before made. */
import { hashShort } from "./fingerprint";
import type { Artifact, Json, PostProcessed, PostProcessor } from "./model";
import type { BuildContext } from "./context";
import { throwIfAborted } from "./retry";
import { runTries, type TrySettings } from "./tries";

export interface PostProcessorStep extends TrySettings {
  type: string;
  /** Its options and the contents of its sources. */
  identity: Json;
  /** What it is going to make. */
  planned: string[];
  postProcessor: PostProcessor;
}

/** What one post-processor did, as kept in state. */
export interface PostProcessRecord {
  /** Its options, sources and input: as long as it is the same, nothing is run again. */
  key: string;
  type: string;
  artifact: Artifact;
  /** See `PostProcessed.made`. */
  made: string[];
  /** The files were given up by the next of the sequence: if that one must run again, so must this. */
  consumed?: boolean;
  /** It failed: its artifact is its input, and `made` what it may have made. */
  failed?: boolean;
}

export interface PostProcessResult {
  records: PostProcessRecord[];
  /** A failure ends its sequence; the others are still run. */
  failures: unknown[];
}

export async function runPostProcessors(
  context: BuildContext,
  artifact: Artifact,
  sequences: readonly (readonly PostProcessorStep[])[],
  previous: readonly PostProcessRecord[],
  removeFiles: (made: readonly string[]) => Promise<void>,
): Promise<PostProcessResult> {
  const result: PostProcessResult = { records: [], failures: [] };
  for (const sequence of sequences) {
    try {
      await runSequence(context, artifact, sequence, previous, removeFiles, result.records);
    } catch (error) {
      throwIfAborted(context.signal);
      result.failures.push(error);
    }
  }
  return result;
}

async function runSequence(
  context: BuildContext,
  start: Artifact,
  sequence: readonly PostProcessorStep[],
  previous: readonly PostProcessRecord[],
  removeFiles: (made: readonly string[]) => Promise<void>,
  records: PostProcessRecord[],
): Promise<void> {
  const keys = computeKeys(start, sequence);
  const known = keys.map((key) => previous.find((record) => record.key === key));
  let firstToRun = known.indexOf(undefined);
  if (firstToRun < 0) firstToRun = sequence.length;
  // What gave its files up must make them again for those behind it.
  const consumed = known.findIndex((record) => record?.consumed);
  if (firstToRun < sequence.length && consumed >= 0) firstToRun = Math.min(firstToRun, consumed);
  const own: PostProcessRecord[] = [];

  let input = start;
  for (const [index, step] of sequence.entries()) {
    const record = index < firstToRun ? known[index] : undefined;
    if (record) {
      own.push(record);
      records.push(record);
      input = record.artifact;
      continue;
    }
    const done = await runStep(context, step, input, records);
    if (done.consumesInput) await giveUpFiles(own, input, done.made, removeFiles);
    own.push({ key: keys[index] ?? "", type: step.type, artifact: done.artifact, made: done.made });
    records.push(...own.slice(-1));
    input = done.artifact;
  }
}

/** The input's files go, whichever step of the sequence made them; the builder's own always stay. */
async function giveUpFiles(
  records: readonly PostProcessRecord[],
  input: Artifact,
  stillMade: readonly string[],
  removeFiles: (made: readonly string[]) => Promise<void>,
): Promise<void> {
  const files = (input.files ?? []).map((file) => `file:${file}`).filter((file) => !stillMade.includes(file));
  for (const record of records) {
    const given = record.made.filter((item) => files.includes(item));
    if (given.length === 0) continue;
    await removeFiles(given);
    record.made = record.made.filter((item) => !given.includes(item));
    record.consumed = true;
  }
}

async function runStep(
  context: BuildContext,
  step: PostProcessorStep,
  input: Artifact,
  records: PostProcessRecord[],
): Promise<PostProcessed> {
  try {
    return await context.step(step.title, () =>
      runTries(context, step, (inner) => step.postProcessor.process(inner, input)),
    );
  } catch (error) {
    records.push({ key: "", type: step.type, artifact: input, made: step.planned, failed: true });
    throw error;
  }
}

function computeKeys(start: Artifact, sequence: readonly PostProcessorStep[]): string[] {
  const keys: string[] = [];
  for (const step of sequence) keys.push(hashShort([keys.at(-1) ?? start.id, step.type, step.identity]));
  return keys;
}

/** What earlier runs made and the present ones did not. */
export function listStale(
  previous: readonly PostProcessRecord[],
  now: readonly PostProcessRecord[],
): string[] {
  const wanted = new Set(now.flatMap((record) => record.made));
  return [...new Set(previous.flatMap((record) => record.made))].filter((made) => !wanted.has(made));
}
