/** Claims as tags: `kiln.local/<project>/<stack>/<hash>:<fingerprint>-<id>-<state>`. The form is for ever. */
import { formatClaimTag, listCollectable, parseClaim, type Claim } from "../../core/claims";
import type { DockerDriver } from "./driver";

const PREFIX = "kiln.local/";
/** The engine's filter needs to know the depth. */
const PATTERN = `${PREFIX}*/*/*`;

export function claimRepository(owner: string): string {
  return PREFIX + owner;
}

export function claimReference(claim: Claim): string {
  return `${claimRepository(claim.owner)}:${formatClaimTag(claim)}`;
}

export function isClaimReference(reference: string): boolean {
  return /^kiln\.local\/[^/]+\/[^/]+\/[^/]+$/.test(reference);
}

export async function listClaims(driver: DockerDriver, signal: AbortSignal): Promise<Claim[]> {
  const tags = await driver.listTags(PATTERN, signal);
  return tags.flatMap(({ imageId, tag: reference }) => {
    const colon = reference.lastIndexOf(":");
    return parseClaim(reference.slice(PREFIX.length, colon), reference.slice(colon + 1), imageId) ?? [];
  });
}

export async function putClaim(driver: DockerDriver, claim: Claim, signal: AbortSignal): Promise<void> {
  await driver.tagImage(claim.artifactId, claimRepository(claim.owner), formatClaimTag(claim), signal);
}

/**
 * Takes a claim back; the image goes with its last name. If something uses the image, it is marked as unwanted, for a
 * later build or delete to collect, and what uses it is returned.
 */
export async function dropClaim(
  driver: DockerDriver,
  claim: Claim,
  signal: AbortSignal,
): Promise<string | undefined> {
  const result = await driver.untagImage(claimReference(claim), signal);
  if (typeof result === "string") return undefined;
  await putClaim(driver, { ...claim, state: "gone" }, signal);
  await driver.untagImage(claimReference(claim), signal);
  return result.inUseBy;
}

/** Removes what is unwanted and not used any more, whoever made it. */
export async function collect(driver: DockerDriver, signal: AbortSignal, nowMs = Date.now()): Promise<void> {
  for (const claim of listCollectable(await listClaims(driver, signal), nowMs)) {
    await driver.untagImage(claimReference(claim), signal); // still in use: it waits
  }
}
