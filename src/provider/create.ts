import {
  createClaimId,
  findAdoptable,
  formatClaimTag,
  formatOwner,
  listUnreturned,
  type Claim,
} from "../core/claims";
import type { BuildContext } from "../core/context";
import { describeError } from "../core/errors";
import { identifyProcess, removeJournal, writeJournal, type JournalEntry } from "../core/journal";
import type { Artifact } from "../core/model";
import type { PostProcessRecord } from "../core/post-process";
import { listStale } from "../core/post-process";
import { build } from "./build";
import { dropWithWarning } from "./drop";
import { logOf } from "./engine-log";
import { incomplete } from "./incomplete";
import { removeMade } from "./made";
import { isFirstCreate, isPlanned, recall } from "./memory";
import { listElsewhere, tidyKept } from "./kept";
import { postProcess, runOperation, type Operation } from "./operation";
import { nameOf, type Built, type Inputs, type State } from "./state";
import { tidyStages } from "./stages";
import { listClaimsOf, sweepMachines, sweepRemains } from "./sweep";

const CONFIRM_MS = 30_000;

/** Adopts the image of this fingerprint if there is one, else builds it; then runs the post-processors. */
export function createImage(inputs: Inputs): Promise<{ id: string; outs: State }> {
  return runOperation(inputs, async (operation) => {
    const { site, signal, platform, buildId } = operation;
    await sweepMachines(operation);
    const owner = ownerOf(inputs);
    const claims = await site.listClaims(signal);
    const id = createClaimId(claims, owner, Date.now());
    const claim = { owner, fingerprint: inputs.fingerprint ?? "", id, state: "new" } as const;
    const journal = openJournal(operation, claim);
    return operation.run(
      platform.countOwnSteps(operation.options) + operation.units.provisioners.length,
      async (context) => {
        context.defer("closing the journal", (undo) => closeJournal(operation, journal, undo), "unless-kept");
        const taken = await takeOver(operation, claims, claim, context);
        const artifact =
          taken ??
          (await adopt(operation, claims, claim)) ??
          (await build(operation, context, claims, claim, journal));
        journal.artifactId = artifact.id;
        writeJournal(journal);
        const result = await postProcess(operation, context, artifact, []);
        const built = describeBuilt(operation, artifact, result.records, taken !== undefined);
        const state = describeState(operation, built, buildId);
        await confirm(operation, claim, artifact);
        // What is in state from here on is not to be swept, even if this process dies before the machine is gone.
        Object.assign(journal, { claim: undefined, made: [] });
        writeJournal(journal);
        if (result.failures.length > 0) throw incomplete(id, state, result.failures, context.log.file);
        return { id, outs: state };
      },
    );
  });
}

export function ownerOf(inputs: Inputs): string {
  const { project, stack, urn, lineage = "" } = inputs.__kiln;
  return formatOwner(project, stack, urn, lineage);
}

/** Written before anything is made, so that whatever moment the process dies at, the next build knows where to look. An update has no claim of its own, but what was `built`. */
export function openJournal(
  operation: Operation,
  claim: Omit<Claim, "artifactId"> | undefined,
  built?: Built,
): JournalEntry {
  const { site, inputs, platform, engineId, buildId } = operation;
  const before = (built?.records ?? []).flatMap((record) => record.made);
  const entry: JournalEntry = {
    buildId,
    owner: identifyProcess(),
    urn: inputs.__kiln.urn,
    platform: platform.type,
    endpoint: site.address,
    engineId,
    artifactId: built?.artifact.id,
    machine: claim && site.nameMachine(buildId),
    claim: claim && { owner: claim.owner, tag: formatClaimTag(claim) },
    made: recall(inputs.__kiln.urn).planned.filter((item) => !before.includes(item)),
  };
  writeJournal(entry);
  return entry;
}

/** The last undo: the entry stays as long as what it names does. */
async function closeJournal({ site }: Operation, journal: JournalEntry, signal: AbortSignal): Promise<void> {
  await site.removeMachine(site.nameMachine(journal.buildId), signal);
  const left = journal.claim ? listClaimsOf(journal, await site.listClaims(signal)) : [];
  if (left.length === 0) removeJournal(journal.buildId);
}

/** An image of this fingerprint, whoever made it: a build that was cut after its commit, another resource or stack. */
async function adopt(
  operation: Operation,
  claims: readonly Claim[],
  claim: Omit<Claim, "artifactId">,
): Promise<Artifact | undefined> {
  const { site, options, signal, inputs } = operation;
  const { urn } = inputs.__kiln;
  const claimant = { name: nameOf(urn), buildId: operation.buildId, claim };
  for (const artifactId of findAdoptable(claims, claim.owner, claim.fingerprint, recall(urn).moved)) {
    const artifact = await site.findArtifact(artifactId, options, signal, claimant);
    if (!artifact) continue;
    try {
      await site.putClaim({ ...claim, artifactId }, signal);
    } catch (error) {
      // Somebody removed it just now: the next, or a build.
      if (await site.findArtifact(artifactId, options, signal)) throw error;
      continue;
    }
    logOf(urn).info(`found: ${artifactId.slice(0, 19)} has this fingerprint; nothing to build`);
    return artifact;
  }
  return undefined;
}

/** The image that `adopt` names. Only a first create looks at it: whatever comes later is built. */
async function takeOver(
  operation: Operation,
  claims: readonly Claim[],
  claim: Omit<Claim, "artifactId">,
  context: BuildContext,
): Promise<Artifact | undefined> {
  const { site, options, inputs } = operation;
  if (options.adopt === undefined || !isFirstCreate(recall(inputs.__kiln.urn), claims, claim.owner))
    return undefined;
  const artifact = await site.takeOver(options.adopt, options, context);
  await site.putClaim({ ...claim, artifactId: artifact.id }, context.signal);
  logOf(inputs.__kiln.urn).info(`adopted: ${options.adopt} (${artifact.id.slice(0, 19)}); nothing to build`);
  return artifact;
}

/** From here on the image is in state: it is claimed as such, and what earlier tries of this resource left goes. */
async function confirm(
  operation: Operation,
  claim: Omit<Claim, "artifactId">,
  artifact: Artifact,
): Promise<void> {
  const { site, inputs, platform } = operation;
  const { urn, retain } = inputs.__kiln;
  // To the end, even if the user has cancelled meanwhile: these are a few quick calls.
  const signal = AbortSignal.timeout(CONFIRM_MS);
  // First what the journal knows: of a claim alone nobody could tell which names came with it.
  await tidy(urn, () => sweepRemains({ ...operation, signal }));
  if (platform.isClaimed(artifact)) {
    const mine = { ...claim, artifactId: artifact.id };
    await site.putClaim({ ...mine, state: retain ? "pin" : "live" }, signal);
    await tidy(urn, async () => {
      const { current } = recall(urn);
      // Another engine's clock may differ.
      const inState = current?.engineId === operation.engineId ? current.id : undefined;
      for (const old of listUnreturned(await site.listClaims(signal), claim.owner, claim.id, inState))
        await dropWithWarning(site, old, urn, signal);
    });
    await site.dropClaim(mine, signal);
    await tidy(urn, () => tidyKept({ ...operation, signal }, claim.owner, claim.id));
  }
  await tidy(urn, () => site.collect(signal));
  await tidy(urn, () => tidyStages({ ...operation, signal }, ownerOf(inputs)));
}

/** What is left of others must not fail an image that is made: a later build tries again. */
async function tidy(urn: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    logOf(urn).warn(`what earlier builds left is not all removed: ${describeError(error)}`);
  }
}

export function describeBuilt(
  operation: Operation,
  artifact: Artifact,
  records: PostProcessRecord[],
  adopted: boolean,
): Built {
  const { site, engineId, inputs } = operation;
  const elsewhere = listElsewhere(recall(inputs.__kiln.urn).current, engineId);
  return {
    artifact,
    records,
    owner: ownerOf(inputs),
    endpoint: site.address,
    engineId,
    ...(adopted ? { adopted } : {}),
    ...(elsewhere.length > 0 ? { elsewhere } : {}),
  };
}

export function describeState(operation: Operation, built: Built, buildId: string): State {
  const { inputs, platform } = operation;
  const { artifact, records } = built;
  const results = records.filter((record) => !record.failed).map((record) => record.artifact);
  const kept = Object.fromEntries(
    Object.entries(inputs).filter(([name]) => !platform.credentialOptions.includes(name)),
  );
  return {
    ...(kept as Inputs),
    ...platform.describeOutputs(artifact, results),
    fingerprint: inputs.fingerprint ?? "",
    buildId,
    artifactId: artifact.id,
    artifacts: [artifact, ...results],
    __kiln: { ...inputs.__kiln, built },
  };
}

/** What a changed list of post-processors no longer makes. */
export async function undoStale(
  operation: Operation,
  artifact: Artifact,
  previous: readonly PostProcessRecord[],
  now: readonly PostProcessRecord[],
): Promise<void> {
  const deleteRemote = operation.inputs["deleteFromRegistry"] === true;
  await removeMade(
    listStale(previous, now).filter((item) => !isPlanned(item)),
    {
      site: operation.site,
      artifact,
      cwd: process.cwd(),
      deleteRemote,
      signal: operation.signal,
    },
  );
}
