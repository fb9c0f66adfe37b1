import { formatOwner, type Claim } from "../core/claims";
import { listInherited, planDelete } from "../core/retention";
import { cancellable } from "./cancel";
import { readOptions } from "./check";
import { flushLog, logOf } from "./engine-log";
import { dropWithWarning } from "./drop";
import { carryOut, inherit, readKeep, rememberSuperseded, removeLeft, trim } from "./kept";
import { removeMade } from "./made";
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
    const { artifact, records, owner, engineId, endpoint } = state.__kiln.built;
    const memory = recall(urn);
    const isDeclared = memory.checked;
    const files = (artifact.files ?? []).map((file) => `file:${file}`);
    try {
      const options = readOptions(platform, state);
      const site = await platform.connect(options, { signal });
      const unwanted = { owner, fingerprint: state.fingerprint, id };
      const removal = { site, artifact, cwd: process.cwd(), deleteRemote: false, unwanted, signal };
      const placeId = await site.readId(signal);
      const before = await site.listClaims(signal);
      const isShared = before.some((claim) => isHeldBeside(claim, artifact.id, owner, id));
      const made = [...files, ...records.flatMap((record) => record.made)].filter(
        (item) => !isPlanned(item) && !(isShared && isDigest(item)),
      );
      const local = made.filter((item) => !platform.isRemote(item));
      if (placeId === engineId) {
        await removeMade(local, removal);
        await sweepMachines({ site, engineId, signal, inputs: state });
      } else await removeMade(files, removal);
      const elsewhere = isDeclared ? [] : (state.__kiln.built.elsewhere ?? []);
      for (const left of elsewhere)
        if (left.engineId === placeId) await removeLeft(platform, site, left, signal);
      const claims = await site.listClaims(signal);
      const keep = memory.keep ?? readKeep(options);
      const superseded = rememberSuperseded(urn, claims, owner);
      await carryOut(site, urn, planDelete(claims, owner, id, { isDeclared, keep, superseded }), signal);
      if (placeId === engineId) await sweepRemains({ site, engineId, signal, inputs: state });
      if (isDeclared) {
        // Replaced because the user said so (`--replace`, a taint), it has got another lineage meanwhile.
        const { project, stack } = state.__kiln;
        const heir = formatOwner(project, stack, urn, memory.lineage ?? "");
        await inherit(site, heir, signal);
        await trim(site, urn, heir, keep, signal);
      } else {
        for (const claim of listInherited(await site.listClaims(signal), owner))
          await dropWithWarning(site, claim, urn, signal);
        await releaseStages({ site, options, engineId: placeId, signal }, owner);
      }
      await trim(site, urn, owner, keep, signal);
      await site.collect(signal);
      const here = { id, artifactId: artifact.id, endpoint, engineId, made };
      const all = [here, ...elsewhere];
      warnOfLeft(
        urn,
        all.filter((left) => left.engineId !== placeId),
        site.address,
      );
      // At last what may fail by another's fault. Another resource's image is the same manifest in the registry.
      const deleteRemote = state["deleteFromRegistry"] === true && !isShared;
      const pushed = made.filter((item) => platform.isRemote(item));
      await removeMade(pushed, { ...removal, deleteRemote });
    } finally {
      await flushLog();
    }
  });
}

/** Whether another create, of this resource or of another, has the image in use: it has the same manifest, and the same digest as a name. */
function isHeldBeside(claim: Claim, artifactId: string, owner: string, id: string): boolean {
  const isOwn = claim.owner === owner && claim.id === id;
  return !isOwn && claim.artifactId === artifactId && claim.state !== "keep" && claim.state !== "gone";
}

function isDigest(made: string): boolean {
  return made.includes("@sha256:");
}

function warnOfLeft(urn: string, left: readonly LeftBehind[], address: string): void {
  for (const { artifactId, endpoint } of left)
    logOf(urn).warn(
      `${artifactId.slice(0, 19)} was made on the engine at ${endpoint}; this is another one (${address}), so nothing is removed there`,
    );
}
