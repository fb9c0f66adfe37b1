/** What the source image is at the moment, where the user wants to follow it. */
import { describeError } from "../core/errors";
import type { CommonOptions, Platform } from "../core/platform";
import { containsUnknown } from "../core/schema";
import { logOf } from "./engine-log";
import type { Inputs } from "./state";

const BASE_DEADLINE_MS = 2000;

/** Hosts that did not answer in this process: each image would wait for them again. */
const silentHosts = new Set<string>();

/** What was known stays if the place does not answer, or what it depends on is unknown: an outage is no change. */
export async function findBase(
  platform: Platform,
  options: CommonOptions,
  olds: Partial<Inputs>,
  news: Inputs,
): Promise<string | undefined> {
  const base = platform.describeBase?.(options);
  if (!base || !platform.resolveBase) return undefined;
  if (containsUnknown(base.dependsOn) || silentHosts.has(base.host)) return olds.baseDigest;
  const signal = AbortSignal.timeout(BASE_DEADLINE_MS);
  try {
    return await platform.resolveBase(options, signal);
  } catch (error) {
    // Checks of other images may have waited beside this one: one of them has said it.
    if (silentHosts.has(base.host)) return olds.baseDigest;
    if (signal.aborted || isSystemFailure(error)) silentHosts.add(base.host);
    logOf(news.__kiln.urn).warnOnce(`whether the source has changed cannot be told: ${describeError(error)}`);
    return olds.baseDigest;
  }
}

/** Whether the system (its network, its files) kept from asking: an answer, even a refusal, has no system's code. */
function isSystemFailure(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause)
    if (typeof (current as NodeJS.ErrnoException).code === "string") return true;
  return false;
}
