import { listDropped } from "../core/claims";
import { cancellable } from "./cancel";
import { readOptions } from "./check";
import { dropWithWarning } from "./drop";
import { flushLog, logOf } from "./engine-log";
import { removeMade } from "./made";
import { isPlanned, recall } from "./memory";
import { requirePlatform } from "./platforms";
import type { State } from "./state";
import { sweepMachines, sweepRemains } from "./sweep";

/** Takes back the claim and what post-processors made; the image goes with its last claim, when nothing uses it. */
export function deleteImage(id: string, state: State): Promise<void> {
  return cancellable(async (signal) => {
    const platform = requirePlatform(state.__kiln.type);
    const { urn } = state.__kiln;
    const { artifact, records, owner, engineId, endpoint } = state.__kiln.built;
    const { checked } = recall(urn);
    const files = (artifact.files ?? []).map((file) => `file:${file}`);
    const made = [...files, ...records.flatMap((record) => record.made)].filter((item) => !isPlanned(item));
    const pushed = made.filter((item) => platform.isRemote(item));
    const local = made.filter((item) => !platform.isRemote(item));
    try {
      const site = await platform.connect(readOptions(platform, state), { signal });
      const removal = { site, artifact, cwd: process.cwd(), deleteRemote: false, signal };
      const isSamePlace = (await site.readId(signal)) === engineId;
      if (isSamePlace) {
        await removeMade(local, removal);
        // First what the journal knows: of a claim alone nobody could tell which names came with it.
        const sweep = { site, engineId, signal, inputs: state };
        await sweepMachines(sweep);
        await sweepRemains(sweep);
      } else {
        await removeMade(files, removal);
        logOf(urn).warn(
          `${artifact.id.slice(0, 19)} was made on the engine at ${endpoint}; this is another one (${site.address}), so nothing is removed there`,
        );
      }
      const claims = await site.listClaims(signal);
      const dropped = isSamePlace ? listDropped(claims, owner, id, checked) : [];
      for (const claim of dropped) await dropWithWarning(site, claim, urn, signal);
      if (isSamePlace) await site.collect(signal);
      // At last what may fail by another's fault. Another resource's image is the same manifest in the registry.
      const isShared = claims.some((claim) => claim.artifactId === artifact.id && claim.owner !== owner);
      const deleteRemote = state["deleteFromRegistry"] === true && !isShared;
      await removeMade(pushed, { ...removal, deleteRemote });
    } finally {
      await flushLog();
    }
  });
}
