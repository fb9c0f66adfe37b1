/** Why the first step that runs was not reused: by comparing what this build is made of with what the last one was. */
import type { Json } from "./model";
import { hashShort } from "./fingerprint";
import type { StageStep } from "./stages";

/** What a build leaves on its machine for the next one to compare with: hashes only. */
export interface StageRecord {
  machine: Record<string, string>;
  steps: StepRecord[];
}

export interface StepRecord {
  parts: Record<string, string>;
  /** Why there was no stage after it. */
  unsaved?: string;
}

/** Enough to name what an edit touches; a reason that lists more is not read. */
const LISTED = 3;

export function recordBuild(
  machine: { [key: string]: Json | undefined },
  steps: readonly StageStep[],
): StageRecord {
  return { machine: hashParts(machine), steps: steps.map(({ parts }) => ({ parts: { ...parts } })) };
}

/** Maps (environment, triggers) entry by entry. */
export function hashParts(values: { [key: string]: unknown }): Record<string, string> {
  const parts: Record<string, string> = {};
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) continue;
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      for (const [key, inner] of Object.entries(hashParts(value as { [key: string]: unknown })))
        parts[`${name}.${key}`] = inner;
    else parts[name] = hashShort(value as Json);
  }
  return parts;
}

/** `8 steps reused; step 9 runs: app/main.py changed`. Undefined where there is nothing to tell: a first build. */
export function describeReuse(
  done: number,
  now: StageRecord,
  before: StageRecord | undefined,
): string | undefined {
  const total = now.steps.length;
  if (done === total) return total === 1 ? "the only step is reused" : `all ${total} steps reused`;
  if (done === 0 && before === undefined) return undefined;
  const reused = done === 0 ? "no step reused" : `${done} ${done === 1 ? "step" : "steps"} reused`;
  return `${reused}; step ${done + 1} runs: ${explainRun(done, now, before)}`;
}

function explainRun(done: number, now: StageRecord, before: StageRecord | undefined): string {
  if (before === undefined) return "it was not built here before";
  const machine = listChanges(before.machine, now.machine);
  if (machine.length > 0) return `${summarize(machine)} changed`;
  const first = now.steps.findIndex(
    (step, index) => listChanges(before.steps[index]?.parts ?? {}, step.parts).length > 0,
  );
  const old = before.steps[done];
  if (first === done) {
    if (old === undefined) return "it is new";
    return `${summarize(listChanges(old.parts, now.steps[done]?.parts ?? {}))} changed`;
  }
  return old?.unsaved === undefined ? "no stage of it is left" : `it was not saved: ${old.unsaved}`;
}

function listChanges(before: Record<string, string>, now: Record<string, string>): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(now)]);
  return [...names].filter((name) => before[name] !== now[name]).sort();
}

function summarize(names: readonly string[]): string {
  const more = names.length > LISTED ? ` (+${names.length - LISTED} more)` : "";
  return names.slice(0, LISTED).join(", ") + more;
}
