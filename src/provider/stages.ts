/** The stage cache of one image: what a build gets of it, and what of it stays. */
import * as fs from "node:fs";
import type { BuildSettings } from "../core/build";
import { asksForRebuild, hasConfirmed, type Claim } from "../core/claims";
import type { BuildContext } from "../core/context";
import { parseDuration } from "../core/duration";
import { describeError } from "../core/errors";
import { cacheFolder } from "../core/folders";
import type { CacheOptions, CommonOptions } from "../core/platform";
import { parseSize } from "../core/size";
import {
  listEvicted,
  listObsolete,
  listOwn,
  ownerOfStages,
  type StageLimits,
  type StageMark,
} from "../core/stage-claims";
import { StageMemory } from "../core/stage-memory";
import { recall, type ResourceMemory } from "./memory";
import type { Operation } from "./operation";
import { toStagedStep } from "./units";

const DEFAULT_LIMITS: Required<CacheOptions> = { maxSize: "10GB", maxAge: "30d" };
const URN_HASH_LENGTH = 8;
/** A secret in these is not given to a step. */
const NOT_FOR_STEPS = ["postProcessors", "buildTimeout", "cache", "host", "deleteFromRegistry"];

/** Undefined where no stage is wanted, or can be had. */
export async function prepareStages(
  operation: Operation,
  context: BuildContext,
  claims: readonly Claim[],
  claim: Omit<Claim, "artifactId">,
): Promise<BuildSettings["stages"]> {
  const { site, options, inputs, units, hideText, engineId } = operation;
  if (options.cache === false || !site.listStages || units.provisioners.length === 0) return undefined;
  try {
    fs.mkdirSync(cacheFolder(), { recursive: true, mode: 0o700 });
    fs.accessSync(cacheFolder(), fs.constants.W_OK);
  } catch (error) {
    context.log.info(`no stages: the cache folder cannot be used: ${describeError(error)}`);
    return undefined;
  }
  const { secretOptions, urn } = inputs.__kiln;
  const isSecret = secretOptions.some((name) => !NOT_FOR_STEPS.includes(name));
  const steps = await Promise.all(
    units.provisioners.map((unit) => toStagedStep(unit, context, { text: hideText, isSecret })),
  );
  return {
    memory: new StageMemory(engineId),
    // Without the lineage: a create that fails has no state, and the next one has another.
    owner: ownerOfStages(claim.owner).slice(0, URN_HASH_LENGTH),
    isSecret,
    isRebuild: isRebuild(recall(urn), claims, claim),
    triggers: options.triggers,
    steps,
  };
}

/** With `--replace` and a taint Pulumi says nothing of the resource's past, even if the program changed as well. */
function isRebuild(
  memory: ResourceMemory,
  claims: readonly Claim[],
  { owner, fingerprint }: Omit<Claim, "artifactId">,
): boolean {
  const isMadeAnew = !memory.hasState && hasConfirmed(claims, owner);
  return isMadeAnew || asksForRebuild(claims, owner, fingerprint, memory.moved);
}

type Place = Pick<Operation, "site" | "engineId" | "signal"> & { options: Pick<CommonOptions, "cache"> };

/** After a build: takes off the marks that nobody misses, and removes what is over the limits. */
export async function tidyStages(place: Place, owner: string): Promise<void> {
  if (place.options.cache === false) return;
  await removeStages(place, (marks, claims) => listObsolete(marks, claims, ownerOfStages(owner)));
}

/** After a delete: a destroyed resource leaves no stage, unless another one uses it. */
export async function releaseStages(place: Place, owner: string): Promise<void> {
  const isUsed = (claim: Claim): boolean =>
    claim.owner === owner && claim.state !== "pin" && claim.state !== "gone";
  await removeStages(place, (marks, claims) =>
    claims.some(isUsed) ? [] : listOwn(marks, claims, ownerOfStages(owner)),
  );
}

async function removeStages(
  { site, options, engineId, signal }: Place,
  choose: (marks: readonly StageMark[], claims: readonly Claim[]) => StageMark[],
): Promise<void> {
  const memory = new StageMemory(engineId);
  memory.removeAbandonedLocks();
  const marks = (await site.listStages?.(signal)) ?? [];
  if (marks.length === 0) return;
  const claims = await site.listClaims(signal);
  const chosen = choose(marks, claims);
  const left = marks.filter((mark) => !chosen.includes(mark));
  const readUsedMs = (key: string): number | undefined => memory.readUsedMs(key);
  const evicted = listEvicted(left, claims, readLimits(options.cache), readUsedMs, Date.now());
  for (const mark of [...chosen, ...evicted]) await site.dropStage?.(mark, signal);
  memory.forgetOthers(new Set(left.map((mark) => mark.key)));
}

function readLimits(cache: CommonOptions["cache"]): StageLimits {
  const { maxSize, maxAge } = { ...DEFAULT_LIMITS, ...(typeof cache === "object" ? cache : {}) };
  return { maxBytes: parseSize(maxSize), maxAgeMs: parseDuration(maxAge) };
}
