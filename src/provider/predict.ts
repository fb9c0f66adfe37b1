import { findAdoptable, formatOwner } from "../core/claims";
import { describeError } from "../core/errors";
import type { Json } from "../core/model";
import type { CommonOptions, Outputs, Platform } from "../core/platform";
import { UNKNOWN } from "../core/schema";
import { logOf } from "./engine-log";
import { isFirstCreate, type ResourceMemory } from "./memory";
import { previewSite } from "./sites";
import { nameOf, type Inputs } from "./state";

const PREDICTION_DEADLINE_MS = 2000;

/**
 * An image that exists already is known in the preview; without that, a mere new tag would preview a replacement of everything
 * downstream. What post-processors make of it is not looked at here: that follows from the options, or shows in the update.
 */
export async function predict(
  platform: Platform,
  options: CommonOptions,
  olds: Partial<Inputs>,
  news: Inputs,
  fingerprint: string,
  memory: ResourceMemory,
): Promise<Outputs> {
  if (fingerprint === UNKNOWN) return {};
  const known = olds.fingerprint === fingerprint ? pickArtifactOutputs(platform, olds) : {};
  const site = await previewSite(platform, options, news.__kiln.urn);
  if (!site) return known;
  const { claims } = site;
  const resource = { name: nameOf(news.__kiln.urn), fingerprint };
  const owner = formatOwner(news.__kiln.project, news.__kiln.stack, news.__kiln.urn, memory.lineage ?? "");
  try {
    // Without old inputs it is to be created, and may be what the user wants built again.
    const moved = memory.moved || olds.fingerprint !== undefined;
    const signal = AbortSignal.timeout(PREDICTION_DEADLINE_MS);
    if (options.adopt !== undefined && isFirstCreate(memory, claims, owner)) {
      const named = await site.site.findArtifact(options.adopt, options, signal);
      return named ? site.site.predictFound(named.id, options, resource) : known;
    }
    for (const artifactId of findAdoptable(claims, owner, fingerprint, moved)) {
      const isOwn = claims.some((claim) => claim.owner === owner && claim.artifactId === artifactId);
      // One's own was looked at when it was made; each question costs a preview of many images dearly.
      if (isOwn || (await site.site.findArtifact(artifactId, options, signal)))
        return site.site.predictFound(artifactId, options, resource);
    }
  } catch (error) {
    logOf(news.__kiln.urn).warnOnce(`which images exist cannot be told: ${describeError(error)}`);
  }
  return known;
}

function pickArtifactOutputs(platform: Platform, olds: Partial<Inputs>): Outputs {
  const names = [...platform.artifactOutputs, "artifactId"];
  return Object.fromEntries(
    names.filter((name) => olds[name] !== undefined).map((name) => [name, olds[name] as Json]),
  );
}
