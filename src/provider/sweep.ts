import { listHeld, parseClaim, type Claim } from "../core/claims";
import { removeTempFolders } from "../core/context";
import { describeError } from "../core/errors";
import { listDeadEntries, removeJournal, type JournalEntry } from "../core/journal";
import { dropWithWarning } from "./drop";
import { logOf } from "./engine-log";
import { removeMade } from "./made";
import { isPlanned } from "./memory";
import type { Operation } from "./operation";

/** Removes the machines that dead builds left on this engine. Their finished images stay for the next create to find. */
export async function sweepMachines(
  operation: Pick<Operation, "site" | "engineId" | "signal" | "inputs">,
): Promise<void> {
  const { site, engineId, signal, inputs } = operation;
  for (const entry of listDeadEntries().filter((dead) => dead.engineId === engineId)) {
    try {
      if (entry.machine) await site.removeMachine(entry.machine, signal);
      await removeTempFolders(entry.buildId);
      // What post-processors were about to make is needed until the image's fate is known.
      if (!entry.claim && entry.made.length === 0) removeJournal(entry.buildId);
    } catch (error) {
      logOf(inputs.__kiln.urn).warn(
        `${entry.machine ?? "something"}, left by a build that was killed, could not be removed: ${describeError(error)}`,
      );
    }
  }
}

/**
 * The rest of dead builds: their claims and names. Only those of this resource, whose create has just ended and taken what
 * it could use, and those whose image nobody took over.
 */
export async function sweepRemains(
  operation: Pick<Operation, "site" | "engineId" | "signal" | "inputs">,
): Promise<void> {
  const { site, engineId, signal, inputs } = operation;
  const entries = listDeadEntries().filter(
    (dead) => dead.engineId === engineId && (dead.claim || dead.made.length > 0),
  );
  if (entries.length === 0) return;
  const claims = await site.listClaims(signal);
  for (const entry of entries) {
    const held = listClaimsOf(entry, claims);
    const isOwn = entry.urn === inputs.__kiln.urn;
    // Its own resource may still want it; of a claim, anybody collects it a day later.
    if (!isOwn && (held.length > 0 || !entry.claim)) continue;
    const artifactId = held[0]?.artifactId ?? entry.artifactId;
    if (artifactId) {
      const isNeeded = claims.some(
        (claim) => claim.artifactId === artifactId && !held.includes(claim) && claim.state !== "gone",
      );
      // A name that the program wants is on the image that it wants, or better on none. Of a file nobody knows whose it is.
      const isLoose = (item: string): boolean => !isNeeded && !/^(file|manifest):/.test(item);
      const made = entry.made.filter((item) => !isPlanned(item) || isLoose(item));
      const artifact = { kind: "", id: artifactId, data: {} };
      const removal = { site, artifact, cwd: process.cwd(), deleteRemote: false, signal };
      await removeMade(made, { ...removal, unwanted: held[0] });
    }
    for (const claim of held) await dropWithWarning(site, claim, inputs.__kiln.urn, signal);
    removeJournal(entry.buildId);
  }
}

/** What holds the artifact of an entry. */
export function listClaimsOf(entry: JournalEntry, claims: readonly Claim[]): Claim[] {
  const wanted = entry.claim && parseClaim(entry.claim.owner, entry.claim.tag, "");
  return wanted ? listHeld(claims, wanted.owner, wanted.id) : [];
}
