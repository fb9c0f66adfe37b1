/** Runs the steps of a build that can start from a stage; stage-save.ts saves after each what is worth it. */
import type { BuildContext } from "./context";
import { describeError } from "./errors";
import { canonicalize } from "./fingerprint";
import type { Json, StageKeeper } from "./model";
import { throwIfAborted } from "./retry";
import type { StageMemory } from "./stage-memory";
import { describeReuse, recordBuild, type StageRecord } from "./stage-reason";
import { saveAs, trySave } from "./stage-save";
import {
  computeStageKeys,
  findLongestPrefix,
  judgeStep,
  listUsable,
  type StageStep,
  type StageTrail,
  type Verdict,
} from "./stages";

export interface StagedStep extends StageStep {
  /** Its identity as its sources are now: what they hold must not have changed between the key and the upload. */
  readIdentity(): Promise<Json>;
}

export interface StageSettings {
  memory: StageMemory;
  /** Whose record to compare with. */
  owner: string;
  /** A secret is in what the machine starts with. */
  isSecret?: boolean;
  /** The user asked for a rebuild: stages are made, none is used. */
  isRebuild: boolean;
  triggers?: Record<string, string>;
}

export interface StagedRun {
  context: BuildContext;
  keeper: StageKeeper;
  settings: StageSettings;
  steps: readonly { stage: StagedStep; run: () => Promise<void> }[];
  keys: readonly string[];
  usable: readonly boolean[];
  record: StageRecord;
}

export async function runStaged(
  context: BuildContext,
  keeper: StageKeeper,
  settings: StageSettings,
  steps: StagedRun["steps"],
): Promise<void> {
  const machine = { ...keeper.machine, triggers: settings.triggers };
  const stages = steps.map(({ stage }) => stage);
  const keys = computeStageKeys(machine, stages);
  const record = recordBuild(machine, stages);
  const run: StagedRun = { context, keeper, settings, steps, keys, usable: listUsable(stages), record };
  const before = settings.memory.readRecord(settings.owner);
  try {
    const done = settings.isRebuild ? 0 : await findStart(run);
    tellReuse(run, done, before);
    await runSteps(
      run,
      done === 0 && savesStart(run) ? await openStart(run) : await openMachine(run, done, 0),
    );
  } finally {
    keepReasons(run.record, before);
    settings.memory.writeRecord(settings.owner, run.record);
  }
}

async function findStart({ keeper, settings, keys, usable }: StagedRun): Promise<number> {
  const startedAt = performance.now();
  const held = await keeper.findStages(keys);
  settings.memory.learn({ askMs: performance.now() - startedAt });
  return findLongestPrefix(keys, usable, held);
}

function tellReuse(run: StagedRun, done: number, before: StageRecord | undefined): void {
  if (run.settings.isRebuild)
    return run.context.log.tell(
      "no step reused: a rebuild was asked for (--replace or a taint), or this state knows of no image",
    );
  const text = describeReuse(done, run.record, before);
  if (text !== undefined) run.context.log.tell(text);
}

/** A step that did not run has no news of why it was not saved. */
function keepReasons(record: StageRecord, before: StageRecord | undefined): void {
  record.steps.forEach((step, index) => {
    const old = before?.steps[index];
    if (step.unsaved === undefined && old?.unsaved !== undefined && isSame(old.parts, step.parts))
      step.unsaved = old.unsaved;
  });
}

function isSame(one: Record<string, string>, other: Record<string, string>): boolean {
  return canonicalize(one) === canonicalize(other);
}

function savesStart({ keeper, settings }: StagedRun): boolean {
  return keeper.savesStart === true && !settings.isSecret;
}

/** The machine before the first step, as it was saved; else made, and saved. Only one build makes it. */
async function openStart(run: StagedRun): Promise<number> {
  const { context, keeper, settings, keys } = run;
  const [key = ""] = keys;
  const lock = settings.isRebuild ? undefined : await settings.memory.lock(key, context.signal);
  try {
    if (lock && (await keeper.findStages([key])).has(key) && (await tryStart(run, key))) return 0;
    await keeper.openMachine(undefined, { isSaved: true });
    await saveAs(run, key);
    return 0;
  } finally {
    lock?.release();
  }
}

async function tryStart({ context, keeper, settings }: StagedRun, key: string): Promise<boolean> {
  try {
    await keeper.openMachine(key, { isSaved: true });
    await keeper.claimStages([key]);
  } catch (error) {
    throwIfAborted(context.signal);
    context.log.warn(`the saved machine cannot be used, so it is made anew: ${describeError(error)}`);
    return false;
  }
  settings.memory.touch([key]);
  context.log.tell("the machine was saved as it starts: it goes on from there");
  return true;
}

/** Goes from `before` steps done to `done`, where that stage is still there; how many are done then. */
async function openMachine(run: StagedRun, done: number, before: number): Promise<number> {
  const { context, keeper, settings, keys } = run;
  if (done === 0) {
    await keeper.openMachine(undefined, { isSaved: true });
    return 0;
  }
  const used = keys.slice(keeper.savesStart ? 0 : 1, done + 1);
  const startedAt = performance.now();
  try {
    await keeper.openMachine(keys[done], { isSaved: done < keys.length - 1 });
    await keeper.claimStages(used);
  } catch (error) {
    throwIfAborted(context.signal);
    context.log.warn(`the stage cannot be used, so all steps run: ${describeError(error)}`);
    context.skipSteps(-before);
    if (savesStart(run)) return openStart(run);
    await keeper.openMachine(undefined, { isSaved: true });
    return 0;
  }
  // Where its start is saved too, a machine is restored in any case.
  if (!keeper.savesStart) settings.memory.learn({ restoreMs: performance.now() - startedAt });
  settings.memory.touch(used);
  context.skipSteps(done - before);
  return done;
}

async function runSteps(run: StagedRun, start: number): Promise<void> {
  const { context, settings, keys, usable } = run;
  let trail: StageTrail = followTrail(run, {}, 0, start);
  for (let done = start; done < run.steps.length;) {
    const isShared = usable[done + 1] && trail.ended === undefined && !settings.isRebuild;
    const lock = isShared ? await settings.memory.lock(keys[done + 1] ?? "", context.signal) : undefined;
    try {
      const further = lock?.waited ? await findFurther(run, done) : done;
      if (further > done) {
        context.log.tell(`up to step ${further}, another build has made it meanwhile`);
        done = await openMachine(run, further, done);
        trail = followTrail(run, {}, 0, done);
      } else trail = await runStep(run, done++, trail);
    } finally {
      lock?.release();
    }
  }
}

function followTrail({ steps }: StagedRun, trail: StageTrail, from: number, to: number): StageTrail {
  return steps.slice(from, to).reduce((before, { stage }) => judgeStep(before, stage).trail, trail);
}

async function findFurther({ keeper, keys, usable }: StagedRun, done: number): Promise<number> {
  return Math.max(done, findLongestPrefix(keys, usable, await keeper.findStages(keys)));
}

async function runStep(run: StagedRun, index: number, trail: StageTrail): Promise<StageTrail> {
  const { context, steps, record } = run;
  const step = steps[index];
  if (!step) return trail;
  const { trail: next, verdict } = judgeStep(trail, step.stage);
  const stepMs = await timeStep(run.keeper, verdict, step.run);
  const outcome = await trySave(run, index, stepMs, verdict);
  if (outcome === undefined) return next;
  const { unsaved, isEnd, keepsSecret } = outcome;
  const noted = record.steps[index];
  if (noted) noted.unsaved = unsaved;
  if (trail.ended === undefined) context.log.info(`no stage: ${unsaved}`);
  if (isEnd) return { ...next, ended: unsaved };
  return keepsSecret ? trail : next;
}

/** What a step took that a stage would save. */
async function timeStep(keeper: StageKeeper, verdict: Verdict, run: () => Promise<void>): Promise<number> {
  keeper.beginStep?.({ mayBeStage: verdict === "plain" });
  const startedAt = performance.now() - (keeper.startMs ?? 0);
  await run();
  return performance.now() - startedAt - (keeper.startMs ?? 0);
}
