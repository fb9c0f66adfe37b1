import type { Claim } from "../core/claims";
import type { CommonOptions, Site } from "../core/platform";
import { logOf } from "./engine-log";

/** Takes a claim back. An artifact that something uses stays, and the user is told what that is. */
export async function dropWithWarning(
  site: Site<CommonOptions>,
  claim: Claim,
  urn: string,
  signal: AbortSignal,
): Promise<void> {
  const usedBy = await site.dropClaim(claim, signal);
  if (usedBy === undefined) return;
  logOf(urn).warn(
    `${claim.artifactId.slice(0, 19)} stays for now: ${usedBy} uses it. It is removed by a later build or destroy, when nothing does`,
  );
}
