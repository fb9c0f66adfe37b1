/** Whether the machine is saved as a stage after a step, and why not. */
import { formatDuration } from "./duration";
import { describeError } from "./errors";
import { canonicalize } from "./fingerprint";
import { createSecretPattern } from "./redact";
import { throwIfAborted } from "./retry";
import type { StagedRun } from "./stage-run";
import { estimateCost, type Verdict } from "./stages";

/** Why there is no stage after a step. */
interface Unsaved {
  unsaved: string;
  /** Nor after any that follows. */
  isEnd?: boolean;
  keepsSecret?: boolean;
}

/** Undefined when a stage was saved. What costs least is asked first. */
export async function trySave(
  run: StagedRun,
  index: number,
  stepMs: number,
  verdict: Verdict,
): Promise<Unsaved | undefined> {
  const { keeper, settings, steps } = run;
  const step = steps[index]?.stage;
  if (!step) return undefined;
  if (typeof verdict === "object") return { unsaved: verdict.why };
  const isTooCheap = (sizeBytes: number): boolean =>
    !keeper.isStage &&
    step.cache !== true &&
    stepMs <= (estimateCost(settings.memory.readCosts(), sizeBytes) ?? 0);
  const tooCheap = {
    unsaved: `"${step.title}" took ${formatDuration(stepMs)}, which is less than a stage costs`,
  };
  if (isTooCheap(0)) return tooCheap;
  const startedAt = performance.now();
  const [obstacle, sizeBytes] = keeper.isStage
    ? [undefined, 0]
    : await Promise.all([keeper.findObstacle(), keeper.measureBytes()]);
  if (obstacle !== undefined) return { unsaved: `after "${step.title}" ${obstacle}`, isEnd: true };
  if (canonicalize(await step.readIdentity()) !== canonicalize(step.identity))
    return { unsaved: `the sources of "${step.title}" changed while it ran`, isEnd: true };
  if (isTooCheap(sizeBytes)) return tooCheap;
  if (verdict === "searched" && (await holdsSecret(run)))
    return { unsaved: "the machine still holds a secret's value", keepsSecret: true };
  return save(run, index, { startedAt, sizeBytes });
}

/** The values are all of the resource's: which of them a step passed on, nobody tells. */
async function holdsSecret({ context, keeper }: StagedRun): Promise<boolean> {
  const pattern = createSecretPattern(Object.values(context.secrets));
  return pattern === undefined || (await keeper.containsText(pattern));
}

async function save(
  run: StagedRun,
  index: number,
  { startedAt, sizeBytes }: { startedAt: number; sizeBytes: number },
): Promise<Unsaved | undefined> {
  const { context, keeper, settings, keys, steps } = run;
  const key = keys[index + 1] ?? "";
  if (!(await saveAs(run, key))) return { unsaved: "it could not be saved", isEnd: true };
  if (keeper.isStage) return undefined;
  settings.memory.learn({ saveMs: performance.now() - startedAt, sizeBytes });
  try {
    await keeper.continueFrom(key, { isLast: index === steps.length - 1, sizeBytes });
  } catch (error) {
    throwIfAborted(context.signal);
    // Another build has removed it, by its limits: the machine as it is holds the same.
    context.log.info(`the build goes on in the machine that it has: ${describeError(error)}`);
  }
  return undefined;
}

/** A cache that cannot be written is no reason for a build to fail. */
export async function saveAs({ context, keeper, settings }: StagedRun, key: string): Promise<boolean> {
  const startedAt = performance.now();
  try {
    await keeper.saveStage(key);
  } catch (error) {
    throwIfAborted(context.signal);
    context.log.warn(`a stage could not be saved; the build goes on without: ${describeError(error)}`);
    return false;
  }
  settings.memory.touch([key]);
  context.log.info(`saved as stage ${key} (${formatDuration(performance.now() - startedAt)})`);
  return true;
}
