import { runBuild } from "../core/build";
import type { Claim } from "../core/claims";
import type { BuildContext } from "../core/context";
import { describeError } from "../core/errors";
import { writeJournal, type JournalEntry } from "../core/journal";
import type { Artifact } from "../core/model";
import { hashSources } from "../core/source-tree";
import { recall } from "./memory";
import type { Operation } from "./operation";
import { prepareStages } from "./stages";
import { identifyUnit, listSources, toProvisionerStep } from "./units";

const KEPT_MACHINE_MS = 24 * 3_600_000;

/** Builds, and makes sure that the sources were the same from the fingerprint to the end. */
export async function build(
  operation: Operation,
  context: BuildContext,
  claims: readonly Claim[],
  claim: Omit<Claim, "artifactId">,
  journal: JournalEntry,
): Promise<Artifact> {
  const { site, options, inputs, units, hideText, signal } = operation;
  const builder = site.createBuilder(options, inputs.baseDigest, claim);
  const steps = units.provisioners.map((unit) => toProvisionerStep(unit, site, hideText));
  const before = recall(inputs.__kiln.urn).sources ?? (await identifySources(operation, context));
  const stages = await prepareStages(operation, context, claims, claim);
  let after: Promise<string> | undefined;
  try {
    const onProvisioned = (): void => {
      after = identifySources(operation, context); // beside the commit
      after.catch(() => undefined); // told below, unless the commit fails first
    };
    const artifact = await runBuild(context, builder, steps, { stages, onProvisioned });
    if ((await after) === before) return artifact;
    if (artifact.id !== "") await site.dropClaim({ ...claim, artifactId: artifact.id }, context.signal);
    throw new Error(
      "The sources changed while the image was built from them. Run again when nothing writes to them",
    );
  } catch (error) {
    if (options.onError !== "abort" || signal.aborted) throw error;
    writeJournal({ ...journal, keepUntilMs: Date.now() + KEPT_MACHINE_MS });
    const kept = await site.explainKept(site.nameMachine(journal.buildId), signal);
    throw kept === undefined ? error : new Error(`${describeError(error)}\n${kept}`, { cause: error });
  }
}

async function identifySources(operation: Operation, context: BuildContext): Promise<string> {
  const identities = [];
  for (const unit of operation.units.provisioners) {
    const trees = await hashSources(listSources(unit), { cwd: context.cwd, signal: context.signal });
    identities.push(identifyUnit(unit, trees));
  }
  return JSON.stringify(identities);
}
