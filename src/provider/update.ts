import { listHeld } from "../core/claims";
import { removeJournal } from "../core/journal";
import { describeBuilt, describeState, openJournal, undoStale } from "./create";
import { needsImage } from "./diff";
import { incomplete } from "./incomplete";
import { tidyKept } from "./kept";
import { postProcess, runOperation, type Operation } from "./operation";
import type { Inputs, State } from "./state";
import { sweepRemains } from "./sweep";

/** Everything that needs no rebuild: post-processors that changed, that failed before, or whose work is gone; and how much is kept. */
export function updateImage(id: string, olds: State, news: Inputs): Promise<{ outs: State }> {
  return runOperation({ ...news, __kiln: { ...news.__kiln, lineage: olds.__kiln.lineage } }, (operation) => {
    const { built } = olds.__kiln;
    const journal = openJournal(operation, undefined, built);
    return operation.run(0, async (context) => {
      context.defer("closing the journal", () => Promise.resolve(removeJournal(journal.buildId)));
      const isHere = await bringBack(operation, olds, id);
      const result = await postProcess(operation, context, built.artifact, built.records);
      const here = describeBuilt(operation, built.artifact, result.records, built.adopted ?? false);
      // What only needed a note in the state has not moved by that.
      const { endpoint, engineId, elsewhere } = built;
      const now = isHere ? here : { ...here, endpoint, engineId, elsewhere };
      // Its claims are under the name that it had when it was made.
      const state = describeState(operation, { ...now, owner: built.owner }, olds.buildId);
      const leftover =
        result.failures.length > 0 ? built.records.filter((record) => !result.records.includes(record)) : [];
      // After a failure nothing is undone yet: it stays noted, and the next update does it.
      if (result.failures.length > 0) {
        state.__kiln.built.records = [...result.records, ...leftover];
        throw incomplete(id, state, result.failures, context.log.file);
      }
      await undoStale(operation, built.artifact, built.records, result.records);
      await sweepRemains(operation);
      await tidyKept(operation, built.owner, id);
      return { outs: state };
    });
  });
}

/** An engine is a cache: what was pushed comes back from its registry, by digest, and gets its claim again. */
async function bringBack(operation: Operation, olds: State, id: string): Promise<boolean> {
  const { site, signal, inputs, platform } = operation;
  const { artifact, records, owner } = olds.__kiln.built;
  if (!platform.isClaimed(artifact)) return true;
  if (
    !(await site.restore(
      artifact,
      records.map((record) => record.artifact),
      signal,
    ))
  ) {
    if (!needsImage(platform, olds, inputs)) return false;
    throw new Error(
      `The image ${artifact.id} is neither on the engine at ${site.address} nor in a registry. Run \`pulumi up --refresh\`: it is built again`,
    );
  }
  const state = inputs.__kiln.retain ? "pin" : "live";
  const held = listHeld(await site.listClaims(signal), owner, id);
  if (!held.some((claim) => claim.state === state))
    await site.putClaim({ owner, fingerprint: olds.fingerprint, id, state, artifactId: artifact.id }, signal);
  for (const claim of held) if (claim.state !== state) await site.dropClaim(claim, signal);
  return true;
}
