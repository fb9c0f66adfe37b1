/** What of a resource stays beside the image in state: kept ones, and those at places where the program ran before. */
import type { Claim } from "../core/claims";
import type { CommonOptions, Platform, Site } from "../core/platform";
import { DEFAULT_KEEP, listInherited, listSuperseded, listTrimmed, planDelete } from "../core/retention";
import { dropWithWarning } from "./drop";
import { removeMade } from "./made";
import { isPlanned, recall, type ResourceMemory } from "./memory";
import type { Operation } from "./operation";
import type { LeftBehind } from "./state";

/** As it is written in the program; a value that is not known yet counts as none. */
export function readKeep(options: Partial<CommonOptions>): number {
  return typeof options.keep === "number" ? options.keep : DEFAULT_KEEP;
}

/** What stays behind when the image is made at `engineId`: what was known before, and the one in state if that is elsewhere. */
export function listElsewhere(current: ResourceMemory["current"], engineId: string): LeftBehind[] {
  if (!current) return [];
  const { elsewhere = [], ...place } = current;
  return [...elsewhere, place].filter((left) => left.engineId !== engineId);
}

/** After a create or an update: what was replaced while the program ran elsewhere goes or is kept, and what is kept beyond `keep` goes. */
export async function tidyKept(
  operation: Pick<Operation, "platform" | "site" | "engineId" | "signal" | "inputs" | "options">,
  owner: string,
  id: string,
): Promise<void> {
  const { platform, site, engineId, signal, inputs, options } = operation;
  const { urn } = inputs.__kiln;
  const keep = readKeep(options);
  const left = (recall(urn).current?.elsewhere ?? []).filter(
    (one) => one.engineId === engineId && one.id !== id,
  );
  for (const one of left) {
    await removeLeft(platform, site, one, signal);
    const claims = await site.listClaims(signal);
    const plan = planDelete(claims, owner, one.id, { isDeclared: true, keep, superseded: [] });
    await carryOut(site, urn, plan, signal);
  }
  await inherit(site, owner, signal);
  await trim(site, urn, owner, keep, signal);
}

/** Takes over what was kept under an earlier lineage of the resource. */
export async function inherit(site: Site<CommonOptions>, owner: string, signal: AbortSignal): Promise<void> {
  for (const claim of listInherited(await site.listClaims(signal), owner)) {
    await site.putClaim({ ...claim, owner }, signal);
    await site.dropClaim(claim, signal);
  }
}

/** The names and files of an image that was replaced while the program ran elsewhere; a registry's copy is the newer one's too. */
export async function removeLeft(
  platform: Platform,
  site: Site<CommonOptions>,
  left: LeftBehind,
  signal: AbortSignal,
): Promise<void> {
  const artifact = { kind: "", id: left.artifactId, data: {} };
  const local = left.made.filter((item) => !platform.isRemote(item) && !isPlanned(item));
  await removeMade(local, { site, artifact, cwd: process.cwd(), deleteRemote: false, signal });
}

/** Removes the oldest of the kept ones. */
export async function trim(
  site: Site<CommonOptions>,
  urn: string,
  owner: string,
  keep: number,
  signal: AbortSignal,
): Promise<void> {
  for (const claim of listTrimmed(await site.listClaims(signal), owner, keep))
    await dropWithWarning(site, claim, urn, signal);
}

/** First the mark by which it stays, then what is dropped, in order. */
export async function carryOut(
  site: Site<CommonOptions>,
  urn: string,
  plan: ReturnType<typeof planDelete>,
  signal: AbortSignal,
): Promise<void> {
  if (plan.kept) await site.putClaim(plan.kept, signal);
  for (const claim of plan.dropped) await dropWithWarning(site, claim, urn, signal);
}

/** What was replaced and not yet deleted, as this run found it: each delete changes the list that the next one sees. */
export function rememberSuperseded(urn: string, claims: readonly Claim[], owner: string): readonly string[] {
  return (recall(urn).superseded ??= listSuperseded(claims, owner));
}
