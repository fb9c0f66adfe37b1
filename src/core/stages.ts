/**
 * A stage is a machine saved after a step, so that a later build starts from there and does not run again what did not
 * change. Here is what decides: names of stages, which may be saved and used, and whether it is worth it. No platform.
 */
import { createHash } from "node:crypto";
import { canonicalize } from "./fingerprint";
import type { Json } from "./model";

/** What a stage holds and how its name comes about: another version shares no stages with this one. */
const FORMAT = "kiln stage 1";
const KEY_LENGTH = 32;

/** What of a step decides about stages. */
export interface StageStep {
  readonly title: string;
  /** All that shapes what it does to the machine; the values of secrets do not. */
  readonly identity: Json;
  /** Short hashes by name (`app/main.py`, `inline`), so that people can be told what changed. */
  readonly parts: Readonly<Record<string, string>>;
  /** What the user says: true wants a stage after it, false none. */
  readonly cache?: boolean;
  /** It got the value of a secret. */
  readonly givenSecret: boolean;
  /** Its effect is not all in the machine: a command beside it, a download. */
  readonly actsElsewhere: boolean;
}

/**
 * The names of all machines on the way: the first is that before any step, named by everything that steps run under; each
 * further one by the one before it and its step. The same on any engine, at any time.
 */
export function computeStageKeys(
  machine: { [key: string]: Json | undefined },
  steps: readonly { identity: Json }[],
): string[] {
  const keys = [hashKey(FORMAT, canonicalize(machine))];
  for (const { identity } of steps) keys.push(hashKey(keys.at(-1) ?? "", canonicalize(identity)));
  return keys;
}

function hashKey(before: string, text: string): string {
  return createHash("sha256").update(`${before}\n${text}`).digest("hex").slice(0, KEY_LENGTH);
}

/** What came before: why no stage can be saved any more, and which step got a secret that may still lie in the machine. */
export interface StageTrail {
  readonly ended?: string;
  readonly givenSecret?: string;
}

/** Whether there may be a stage after a step: "plain", "searched" (only after a search for secrets), or why not. */
export type Verdict = "plain" | "searched" | { why: string };

/** Follows the trail over one step. */
export function judgeStep(trail: StageTrail, step: StageStep): { trail: StageTrail; verdict: Verdict } {
  if (trail.ended !== undefined) return { trail, verdict: { why: trail.ended } };
  if (step.actsElsewhere && step.cache !== true) {
    const ended = `"${step.title}" acts outside of the machine; say \`cache: true\` on it if that need not be repeated`;
    return { trail: { ended }, verdict: { why: ended } };
  }
  const givenSecret = step.givenSecret ? step.title : trail.givenSecret;
  const after = { givenSecret };
  if (givenSecret !== undefined && (step.givenSecret || step.cache !== true)) {
    const why = `"${givenSecret}" was given a secret; say \`cache: true\` on a later step that leaves nothing of it`;
    return { trail: after, verdict: { why } };
  }
  if (step.cache === false) return { trail: after, verdict: { why: "it says `cache: false`" } };
  // What is searched and found clean is a new beginning; if not, the caller keeps the trail that it had.
  return givenSecret === undefined ? { trail: after, verdict: "plain" } : { trail: {}, verdict: "searched" };
}

/** For each machine on the way, the one before the first step included, whether a build may start from a stage of it. */
export function listUsable(steps: readonly StageStep[]): boolean[] {
  let trail: StageTrail = {};
  const usable = [true];
  for (const step of steps) {
    const next = judgeStep(trail, step);
    trail = next.trail;
    usable.push(typeof next.verdict === "string");
  }
  return usable;
}

/** How many steps need not run: the longest way that leads to a stage which is there; 0 without one. */
export function findLongestPrefix(
  keys: readonly string[],
  usable: readonly boolean[],
  held: ReadonlySet<string>,
): number {
  for (let done = keys.length - 1; done > 0; done--)
    if (usable[done] && held.has(keys[done] ?? "")) return done;
  return 0;
}

/** What saving a stage, and starting from it, has cost at a place; undefined what was never measured. */
export interface StageCosts {
  /** Saving a stage of no size. */
  saveMs?: number;
  /** One question to the place. */
  askMs?: number;
  restoreMs?: number;
  bytesPerMs?: number;
}

/** Where nothing was saved yet: saving takes about as long as so many questions. */
const QUESTIONS_PER_SAVE = 10;
/** Where nothing large was saved yet: as fast as a plain disk writes. */
const UNMEASURED_BYTES_PER_MS = 100_000;
/** Weight of what was measured last: a busy moment must not decide for long. */
const LATEST = 0.3;
/** Below this much content, the time says nothing about the speed. */
const TELLING_BYTES = 10_000_000;

/** What saving so much, and starting from it, will probably cost; undefined before anything was measured. */
export function estimateCost(costs: StageCosts, sizeBytes: number): number | undefined {
  const { saveMs, askMs, restoreMs = 0, bytesPerMs = UNMEASURED_BYTES_PER_MS } = costs;
  const fixedMs = saveMs ?? (askMs === undefined ? undefined : askMs * QUESTIONS_PER_SAVE);
  return fixedMs === undefined ? undefined : fixedMs + restoreMs + sizeBytes / bytesPerMs;
}

/** What is known after one more measurement; `saveMs` is that of `sizeBytes`. */
export function learnCosts(
  costs: StageCosts,
  measured: { saveMs?: number; askMs?: number; restoreMs?: number; sizeBytes?: number },
): StageCosts {
  const { saveMs, askMs, restoreMs, sizeBytes = 0 } = measured;
  const { bytesPerMs = UNMEASURED_BYTES_PER_MS } = costs;
  const learned = { ...costs };
  if (askMs !== undefined) learned.askMs = mix(costs.askMs, askMs);
  if (restoreMs !== undefined) learned.restoreMs = mix(costs.restoreMs, restoreMs);
  if (saveMs === undefined) return learned;
  const contentMs = saveMs - (costs.saveMs ?? 0);
  if (sizeBytes >= TELLING_BYTES && contentMs > 0)
    learned.bytesPerMs = mix(costs.bytesPerMs, sizeBytes / contentMs);
  else learned.saveMs = mix(costs.saveMs, Math.max(0, saveMs - sizeBytes / bytesPerMs));
  return learned;
}

function mix(before: number | undefined, latest: number): number {
  return before === undefined ? latest : before * (1 - LATEST) + latest * LATEST;
}
