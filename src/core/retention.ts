/**
 * What becomes of an artifact that its resource needs no longer: it stays for going back (`keep`), or goes. Pure decisions
 * over the list of claims. Pulumi does not tell whether a delete means "replaced" or "destroyed"; the claims and what one
 * run has seen do.
 */
import { isConfirmed, isSameUrn, isUsing, listOwned, sequenceOf, type Claim } from "./claims";

/** How many replaced artifacts stay, where the user says nothing. */
export const DEFAULT_KEEP = 1;

/** What a run of the engine knows of a resource when one of its artifacts is to be deleted. */
export interface DeleteRun {
  /** The program declares the resource: its delete is the end of an old one. */
  isDeclared: boolean;
  keep: number;
  /** See `listSuperseded`, as it was before the first delete of the run. */
  superseded: readonly string[];
}

export interface DeletePlan {
  /** The mark by which it stays: to be put before anything is dropped. */
  kept?: Claim;
  /** In order. */
  dropped: Claim[];
}

/**
 * Replaced: only what holds it for this id goes, and it may stay as kept. Destroyed: everything of this resource but what
 * is retained, its own id last, so that a cut leaves the mark by which the next try finds the rest.
 */
export function planDelete(claims: readonly Claim[], owner: string, id: string, run: DeleteRun): DeletePlan {
  const mine = listOwned(claims, owner);
  const ofId = mine.filter((claim) => claim.id === id && claim.state !== "gone" && claim.state !== "keep");
  const newer = mine
    .filter((claim) => sequenceOf(claim.id) > sequenceOf(id) && isConfirmed(claims, owner, claim.id))
    .sort(newestFirst);
  if (newer.length === 0 && !run.isDeclared) {
    const others = mine.filter(
      (claim) => !ofId.includes(claim) && claim.state !== "pin" && claim.state !== "gone",
    );
    return { dropped: [...others, ...ofId] };
  }
  const [claim] = ofId;
  const isWorthKeeping =
    claim !== undefined &&
    run.keep > 0 &&
    // Without a newer one here the resource has moved to another place: nothing here would ever be trimmed.
    newer[0] !== undefined &&
    newer[0].fingerprint !== claim.fingerprint &&
    // What came after one that is still in state never took over: its dependents failed.
    run.superseded.indexOf(id) <= 0 &&
    !mine.some((other) => isHeldOn(other, claim, run.superseded));
  if (!isWorthKeeping) return { dropped: ofId };
  // Kept before, and used again since: the younger mark counts.
  const older = mine.filter((other) => other.state === "keep" && other.artifactId === claim.artifactId);
  return {
    kept: { ...claim, state: "keep" },
    dropped: [...older.filter((other) => other.id !== id), ...ofId],
  };
}

/** Another id uses the same artifact, and not only until its own delete, which this run is about to call. */
function isHeldOn(other: Claim, claim: Claim, superseded: readonly string[]): boolean {
  return (
    other.id !== claim.id &&
    isUsing(other) &&
    other.artifactId === claim.artifactId &&
    !superseded.includes(other.id)
  );
}

/** Ids that are replaced but not deleted yet, oldest first: all that is confirmed, but the newest. What is retained is not the provider's business. */
export function listSuperseded(claims: readonly Claim[], owner: string): string[] {
  const live = listOwned(claims, owner).filter(
    (claim) => claim.state === "live" && isConfirmed(claims, owner, claim.id),
  );
  return live
    .sort(newestFirst)
    .slice(1)
    .map((claim) => claim.id)
    .reverse();
}

/**
 * What was kept for this resource before Pulumi lost it, e.g. by a refresh after its image was removed by hand: no delete was
 * ever called. A namesake on another backend has an image that is live.
 */
export function listInherited(claims: readonly Claim[], owner: string): Claim[] {
  const inUse = new Set(claims.filter(isUsing).map((claim) => claim.owner));
  return claims.filter(
    (claim) =>
      claim.state === "keep" &&
      claim.owner !== owner &&
      isSameUrn(claim.owner, owner) &&
      !inUse.has(claim.owner),
  );
}

/** Kept artifacts beyond the newest `keep`. One that the resource uses again does not count. */
export function listTrimmed(claims: readonly Claim[], owner: string, keep: number): Claim[] {
  const mine = listOwned(claims, owner);
  const used = new Set(mine.filter(isUsing).map((claim) => claim.artifactId));
  return mine
    .filter((claim) => claim.state === "keep" && !used.has(claim.artifactId))
    .sort(newestFirst)
    .slice(keep);
}

function newestFirst(a: Claim, b: Claim): number {
  return sequenceOf(b.id) - sequenceOf(a.id);
}
