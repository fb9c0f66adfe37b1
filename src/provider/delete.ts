import { formatOwner, isUsing, type Claim } from "../core/claims";
import type { CommonOptions, Platform, Site } from "../core/platform";
import { nameArtifact } from "../core/model";
import { listInherited, planDelete } from "../core/retention";
import { cancellable } from "./cancel";
import { readOptions } from "./check";
import { flushLog, logOf } from "./engine-log";
import { dropWithWarning } from "./drop";
import { carryOut, inherit, readKeep, rememberSuperseded, removeLeft, trim } from "./kept";
import { removeMade, type RemovalOptions } from "./made";
import { isPlanned, recall } from "./memory";
import { requirePlatform } from "./platforms";
import { releaseStages } from "./stages";
import type { LeftBehind, State } from "./state";
import { sweepMachines, sweepRemains } from "./sweep";

/** Takes back the claim and what post-processors made; the image goes with its last claim, when nothing uses it. */
export function deleteImage(id: string, state: State): Promise<void> {
  const memory = recall(state.__kiln.urn);
  // A destroy deletes all that Pulumi has of a resource at once: each must see what the other has done.
  const turn = (memory.deleting ?? Promise.resolve()).then(() => deleteInTurn(id, state));
  memory.deleting = turn.catch(() => undefined);
  return turn;
}

function deleteInTurn(id: string, state: State): Promise<void> {
  return cancellable(async (signal) => {
    const platform = requirePlatform(state.__kiln.type);
    const { urn } = state.__kiln;
    const { artifact, owner, engineId, endpoint, elsewhere: left = [] } = state.__kiln.built;
    const memory = recall(urn);
    const isDeclared = memory.checked;
    try {
      const options = readOptions(platform, state);
      const site = await platform.connect(options, { signal });
      const placeId = await site.readId(signal);
      const before = await site.listClaims(signal);
      const isShared = before.some((claim) => isHeldBeside(claim, artifact.id, owner, id));
      const made = listOwnMade(platform, state, isShared);
      const unwanted = { owner, fingerprint: state.fingerprint, id };
      const removal = { site, artifact, cwd: process.cwd(), unwanted, signal };
      const place = { platform, site, placeId, signal };
      await removeLocal(place, state, made, removal);
      const elsewhere = isDeclared ? [] : left;
      for (const one of elsewhere)
        if (one.engineId === placeId) await removeLeft(platform, site, one, signal);
      const claims = await site.listClaims(signal);
      const keep = memory.keep ?? readKeep(options);
      const superseded = rememberSuperseded(urn, claims, owner);
      await carryOut(site, urn, planDelete(claims, owner, id, { isDeclared, keep, superseded }), signal);
      if (placeId === engineId) await sweepRemains({ site, engineId, signal, inputs: state });
      if (isDeclared) await passOn(place, state, keep);
      else await releaseAll(place, state, options);
      await trim(site, urn, owner, keep, signal);
      await site.collect(signal);
      const { files } = artifact;
      const here = { id, artifactId: artifact.id, files, endpoint, engineId, made };
      const others = [here, ...elsewhere].filter((one) => one.engineId !== placeId);
      warnOfLeft(urn, others, site.address);
      // At last what may fail by another's fault. Another resource's image is the same manifest in the registry.
      const deleteRemote = state["deleteFromRegistry"] === true && !isShared;
      const pushed = made.filter((item) => platform.isRemote(item));
      await removeMade(pushed, { ...removal, deleteRemote });
    } finally {
      await flushLog();
    }
  });
}

interface DeletePlace {
  platform: Platform;
  site: Site<CommonOptions>;
  placeId: string;
  signal: AbortSignal;
}

/** What it made, less what the program still wants. */
function listOwnMade(platform: Platform, state: State, isShared: boolean): string[] {
  const { records } = state.__kiln.built;
  const made = [...listFiles(platform, state), ...records.flatMap((record) => record.made)];
  return made.filter((item) => !isPlanned(item) && !(isShared && isDigest(item)));
}

/** Files that are the artifact, and have no claims. */
function listFiles(platform: Platform, { __kiln }: State): string[] {
  const { artifact } = __kiln.built;
  return platform.isClaimed(artifact) ? [] : (artifact.files ?? []).map((file) => `file:${file}`);
}

async function removeLocal(
  { platform, site, placeId, signal }: DeletePlace,
  state: State,
  made: readonly string[],
  removal: Omit<RemovalOptions, "deleteRemote">,
): Promise<void> {
  const { engineId } = state.__kiln.built;
  const files = listFiles(platform, state);
  const isHome = placeId === engineId;
  const local = made.filter((item) => (isHome ? !platform.isRemote(item) : files.includes(item)));
  await removeMade(local, { ...removal, deleteRemote: false });
  if (isHome) await sweepMachines({ site, engineId, signal, inputs: state });
}

/** Replaced because the user said so (`--replace`, a taint), it has got another lineage meanwhile. */
async function passOn({ site, signal }: DeletePlace, state: State, keep: number): Promise<void> {
  const { project, stack, urn } = state.__kiln;
  const heir = formatOwner(project, stack, urn, recall(urn).lineage ?? "");
  await inherit(site, heir, signal);
  await trim(site, urn, heir, keep, signal);
}

async function releaseAll(
  { site, placeId, signal }: DeletePlace,
  state: State,
  options: CommonOptions,
): Promise<void> {
  const { urn, built } = state.__kiln;
  for (const claim of listInherited(await site.listClaims(signal), built.owner))
    await dropWithWarning(site, claim, urn, signal);
  await releaseStages({ site, options, engineId: placeId, signal }, built.owner);
}

/** Whether another create, of this resource or of another, has the image in use: it has the same manifest, and the same digest as a name. */
function isHeldBeside(claim: Claim, artifactId: string, owner: string, id: string): boolean {
  const isOwn = claim.owner === owner && claim.id === id;
  return !isOwn && claim.artifactId === artifactId && isUsing(claim);
}

function isDigest(made: string): boolean {
  return made.includes("@sha256:");
}

function warnOfLeft(urn: string, left: readonly LeftBehind[], address: string): void {
  for (const { artifactId, files, endpoint } of left)
    logOf(urn).warn(
      `${nameArtifact({ id: artifactId, files })} was made on the engine at ${endpoint}; this is another one (${address}), so nothing is removed there`,
    );
}
