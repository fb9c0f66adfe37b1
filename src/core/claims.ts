/**
 * Who owns an artifact. A claim is a mark that a platform puts on an artifact and can change later (Docker: a tag). The
 * list of claims is the whole input of every decision here; nothing else decides a deletion or an adoption.
 */
import { createHash, randomBytes } from "node:crypto";

/**
 * `new`: made or adopted, not yet returned to the engine. `live`: in state. `pin`: live, and retained on delete.
 * `keep`: replaced, kept for going back. `gone`: unwanted, but something used it when it was to be removed.
 * For ever: they are part of tags on users' machines.
 */
export type ClaimState = "new" | "live" | "pin" | "keep" | "gone";

export interface Claim {
  /** `<project>/<stack>/<hash>`: one resource of one stack. */
  owner: string;
  fingerprint: string;
  /** Unique per create, and rising: also the resource's id in state. */
  id: string;
  state: ClaimState;
  artifactId: string;
}

const TAG = /^(k\d+-[0-9a-f]{64})-(\d+-[0-9a-f]{4})-(new|live|pin|keep|gone)$/;
const ABANDONED_AFTER_MS = 24 * 3_600_000;

/** Lower-case path of three parts; unique by its last, the hashes of URN and lineage, the rest is for people. */
export function formatOwner(project: string, stack: string, urn: string, lineage: string): string {
  return [sanitizePart(project), sanitizePart(stack), hash8(urn) + hash8(lineage)].join("/");
}

function hash8(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}

export function formatClaimTag(claim: Pick<Claim, "fingerprint" | "id" | "state">): string {
  return `${claim.fingerprint.replace(":", "-")}-${claim.id}-${claim.state}`;
}

/** Undefined for a tag that is no claim. */
export function parseClaim(owner: string, tag: string, artifactId: string): Claim | undefined {
  const [, fingerprint, id, state] = TAG.exec(tag) ?? [];
  if (!fingerprint || !id || !state) return undefined;
  return { owner, fingerprint: fingerprint.replace("-", ":"), id, state: state as ClaimState, artifactId };
}

/** Later than now and than every own claim, so that the order of ids is the order of creates even if the clock goes back. */
export function createClaimId(claims: readonly Claim[], owner: string, nowMs: number): string {
  const newest = Math.max(0, ...listOwned(claims, owner).map((claim) => sequenceOf(claim.id)));
  return `${Math.max(nowMs, newest + 1)}-${randomBytes(2).toString("hex")}`;
}

/** Ids with a `live` or `pin` and no `new`: their create has returned. */
export function isConfirmed(claims: readonly Claim[], owner: string, id: string): boolean {
  const states = listOwned(claims, owner)
    .filter((claim) => claim.id === id)
    .map((claim) => claim.state);
  return !states.includes("new") && (states.includes("live") || states.includes("pin"));
}

/**
 * Whether a create was asked for by the user (`--replace`, taint): the fingerprint is that of a live claim of this very
 * resource, and nothing moved. Its lineage does not count: a tainted resource is made anew without a word about the old one.
 */
export function asksForRebuild(
  claims: readonly Claim[],
  owner: string,
  fingerprint: string,
  moved: boolean,
): boolean {
  return (
    !moved &&
    claims.some(
      (claim) =>
        claim.fingerprint === fingerprint &&
        isSameUrn(claim.owner, owner) &&
        isConfirmed(claims, claim.owner, claim.id),
    )
  );
}

/** Whether a create of this resource has ever returned, whatever its lineage. */
export function hasConfirmed(claims: readonly Claim[], owner: string): boolean {
  return claims.some((claim) => isSameUrn(claim.owner, owner) && isConfirmed(claims, claim.owner, claim.id));
}

/** Which artifacts a create may adopt instead of building, best first. None when the user asked for a rebuild. */
export function findAdoptable(
  claims: readonly Claim[],
  owner: string,
  fingerprint: string,
  moved: boolean,
): string[] {
  if (asksForRebuild(claims, owner, fingerprint, moved)) return [];
  const fitting = claims.filter((claim) => claim.fingerprint === fingerprint);
  const ranked = [...fitting].sort(
    (a, b) => Number(b.owner === owner) - Number(a.owner === owner) || sequenceOf(b.id) - sequenceOf(a.id),
  );
  return [...new Set(ranked.map((claim) => claim.artifactId))];
}

/**
 * What a finished create drops: own creates before it that never returned. Their `new` goes last: without it they look returned.
 * And what is live and later than the one `inState`: its process died before Pulumi had its answer.
 */
export function listUnreturned(
  claims: readonly Claim[],
  owner: string,
  id: string,
  inState: string | undefined,
): Claim[] {
  const before = listOwned(claims, owner).filter((claim) => sequenceOf(claim.id) < sequenceOf(id));
  const ids = before.filter((claim) => claim.state === "new").map((claim) => claim.id);
  const unanswered = before.filter(
    (claim) =>
      claim.state === "live" &&
      !ids.includes(claim.id) &&
      inState !== undefined &&
      sequenceOf(claim.id) > sequenceOf(inState),
  );
  return [...ids.flatMap((each) => listHeld(claims, owner, each)), ...unanswered];
}

/** All that holds the artifact for one create, in the order in which it is dropped. */
export function listHeld(claims: readonly Claim[], owner: string, id: string): Claim[] {
  const held = listOwned(claims, owner).filter((claim) => claim.id === id);
  return (["live", "pin", "new"] as const).flatMap((state) => held.filter((claim) => claim.state === state));
}

/** What anybody may collect: unwanted artifacts that were in use, and creates that were abandoned. */
export function listCollectable(claims: readonly Claim[], nowMs: number): Claim[] {
  return claims.filter(
    (claim) =>
      claim.state === "gone" || (claim.state === "new" && sequenceOf(claim.id) < nowMs - ABANDONED_AFTER_MS),
  );
}

/** One resource, though Pulumi may have lost it between and given it another lineage. */
export function isSameUrn(owner: string, other: string): boolean {
  return owner.slice(0, -8) === other.slice(0, -8);
}

/** Somebody needs the artifact now: it is not only kept for later, or waiting to go. */
export function isUsing(claim: Claim): boolean {
  return claim.state !== "keep" && claim.state !== "gone";
}

/** Those of one resource. */
export function listOwned(claims: readonly Claim[], owner: string): Claim[] {
  return claims.filter((claim) => claim.owner === owner);
}

/** Orders creates. */
export function sequenceOf(id: string): number {
  return Number(id.split("-")[0]);
}

function sanitizePart(name: string): string {
  const text = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 60)
    .replace(/-+$/, "");
  return text || "x";
}
