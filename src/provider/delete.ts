import { listDropped } from "../core/claims";
import { cancellable } from "./cancel";
import { readOptions } from "./check";
import { dropWithWarning } from "./drop";
import { flushLog, logOf } from "./engine-log";
import { removeMade } from "./made";
import { recall } from "./memory";
import { requirePlatform } from "./platforms";
import type { State } from "./state";
import { sweepMachines, sweepRemains } from "./sweep";

/** Takes back the claim and what post-processors made; the image goes with its last claim, when nothing uses it. */
export function deleteImage(id: string, state: State): Promise<void> {
  return cancellable(async (signal) => {
    const platform = requirePlatform(state.__kiln.type);
    const { urn } = state.__kiln;
    const { artifact, records, owner, engineId, endpoint } = state.__kiln.built;
    const memory = recall(urn);
    const files = (artifact.files ?? []).map((file) => `file:${file}`);
    const made = [...files, ...records.flatMap((record) => record.made)].filter(
      (item) => !memory.planned.includes(item),
    );
    try {
      const site = await platform.connect(readOptions(platform, state), { signal });
      const isSamePlace = (await site.readId(signal)) === engineId;
      if (!isSamePlace)
        logOf(urn).warn(
          `${artifact.id.slice(0, 19)} was made on the engine at ${endpoint}; this is another one (${site.address}), so nothing is removed there`,
        );
      const removal = {
        artifact,
        cwd: process.cwd(),
        deleteRemote: state["deleteFromRegistry"] === true,
        signal,
      };
      await removeMade(isSamePlace ? made : made.filter((item) => !item.startsWith("docker-tag:")), {
        ...removal,
        site,
      });
      if (!isSamePlace) return;
      // First what the journal knows: of a claim alone nobody could tell which names came with it.
      const sweep = { site, engineId, signal, inputs: state };
      await sweepMachines(sweep);
      await sweepRemains(sweep);
      for (const claim of listDropped(await site.listClaims(signal), owner, id, memory.checked)) {
        await dropWithWarning(site, claim, urn, signal);
      }
      await site.collect(signal);
    } finally {
      await flushLog();
    }
  });
}
