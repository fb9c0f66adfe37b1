import { describeError } from "../core/errors";
import { nameArtifact } from "../core/model";
import type { Platform } from "../core/platform";
import { containsUnknown, UNKNOWN } from "../core/schema";
import { readOptions } from "./check";
import { flushLog, logOf } from "./engine-log";
import { readKeep } from "./kept";
import { recall } from "./memory";
import { requirePlatform } from "./platforms";
import { previewSite } from "./sites";
import type { Inputs, State } from "./state";

export interface DiffAnswer {
  changes?: boolean;
  replaces?: string[];
}

const LISTED_CHANGES = 8;
const LOCATE_DEADLINE_MS = 2000;
/**
 * Where `changes` is left out the engine compares the inputs itself, and so names just the files and options that differ;
 * `true` would make it print everything.
 */
export async function diffImage(id: string, olds: State, news: Inputs): Promise<DiffAnswer> {
  const platform = requirePlatform(news.__kiln.type);
  const { artifact, records, endpoint, engineId, elsewhere } = olds.__kiln.built;
  const made = records.flatMap((record) => record.made);
  const { id: artifactId, files } = artifact;
  recall(news.__kiln.urn).current = {
    id,
    artifactId,
    ...(files ? { files } : {}),
    endpoint,
    engineId,
    made,
    elsewhere,
  };
  const before = readOptions(platform, olds);
  const after = readOptions(platform, news);
  if (news.fingerprint === UNKNOWN) return { replaces: ["fingerprint"] };
  if (news.fingerprint !== olds.fingerprint) {
    logOf(news.__kiln.urn).info(`rebuild: ${listReasons(platform, olds, news)}`);
    await flushLog();
    return { replaces: ["fingerprint"] };
  }
  const replaces = platform.listReplacing(before, after);
  if (replaces.length > 0) {
    recall(news.__kiln.urn).moved = true;
    return { replaces };
  }
  const isWorkedOn = needsImage(platform, olds, news);
  if (isWorkedOn && (await isOutOfReach(platform, olds, news))) {
    recall(news.__kiln.urn).moved = true;
    return { changes: true, replaces: ["fingerprint"] };
  }
  if (isUnfinished(olds)) return { changes: true };
  const isUpdate =
    isWorkedOn ||
    readKeep(after) !== readKeep(before) ||
    news.__kiln.retain !== olds.__kiln.retain ||
    platform.updateOptions.some(
      (name) => JSON.stringify((before as never)[name]) !== JSON.stringify((after as never)[name]),
    );
  return isUpdate ? {} : { changes: false };
}

function isUnfinished(olds: State): boolean {
  return olds.incomplete === true || (olds.drift ?? []).length > 0;
}

/** Whether an update has post-processors to run: other changes leave the image alone, wherever it is. */
export function needsImage(platform: Platform, olds: State, news: Inputs): boolean {
  const before = readOptions(platform, olds).postProcessors;
  const after = readOptions(platform, news).postProcessors;
  return (
    isUnfinished(olds) ||
    containsUnknown(after) ||
    JSON.stringify(after) !== JSON.stringify(before) ||
    news.__kiln.postSources !== olds.__kiln.postSources
  );
}

/** Where the image is neither on this engine nor in a registry, only a build makes one. */
async function isOutOfReach(platform: Platform, olds: State, news: Inputs): Promise<boolean> {
  const { artifact, records, endpoint } = olds.__kiln.built;
  if (!platform.isClaimed(artifact)) return false;
  const { urn } = news.__kiln;
  const preview = await previewSite(platform, readOptions(platform, news), urn);
  if (!preview) return false;
  const results = records.map((record) => record.artifact);
  try {
    const place = await preview.site.locate(artifact, results, AbortSignal.timeout(LOCATE_DEADLINE_MS));
    if (place !== "gone") return false;
  } catch (error) {
    logOf(urn).warnOnce(`whether the image still exists cannot be told: ${describeError(error)}`);
    return false;
  }
  logOf(urn).info(
    `rebuild: ${nameArtifact(artifact)}, made on the engine at ${endpoint}, is not on the one at ${preview.site.address}, and in no registry`,
  );
  await flushLog();
  return true;
}

/** `~app/main.py +app/new.py ~environment.MODE` */
function listReasons(platform: Platform, olds: State, news: Inputs): string {
  const before = listShaping(platform, olds);
  const after = listShaping(platform, news);
  const files = compareMaps(olds.contents ?? {}, news.contents ?? {});
  const options = [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((name) => !news.__kiln.secretOptions.includes(name))
    .flatMap((name) => compareValues(name, before[name], after[name]));
  const base = olds.baseDigest === news.baseDigest ? [] : ["~base image"];
  const all = [...files, ...options, ...base];
  if (all.length === 0) return "an option that holds a secret";
  const more = all.length > LISTED_CHANGES ? ` (+${all.length - LISTED_CHANGES} more)` : "";
  return all.slice(0, LISTED_CHANGES).join(" ") + more;
}

/** What of the options shapes the image, by name. */
function listShaping(platform: Platform, inputs: Inputs): Record<string, unknown> {
  const options = readOptions(platform, inputs);
  const { provisioners, triggers } = options;
  return { ...platform.identify(options), provisioners, triggers };
}

function compareMaps(before: Record<string, string>, after: Record<string, string>): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return names.flatMap((name) => {
    if (before[name] === undefined) return [`+${name}`];
    if (after[name] === undefined) return [`-${name}`];
    return before[name] === after[name] ? [] : [`~${name}`];
  });
}

/** The deepest places that differ; a list of another length as a whole. */
function compareValues(at: string, before: unknown, after: unknown): string[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  if (before === undefined) return [`+${at}`];
  if (after === undefined) return [`-${at}`];
  if (Array.isArray(before) && Array.isArray(after)) {
    if (before.length !== after.length || before.every((item) => typeof item === "string")) return [`~${at}`];
    return before.flatMap((item, index) => compareValues(`${at}[${index}]`, item, after[index]));
  }
  if (isMap(before) && isMap(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return names.flatMap((name) => compareValues(`${at}.${name}`, before[name], after[name]));
  }
  return [`~${at}`];
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
