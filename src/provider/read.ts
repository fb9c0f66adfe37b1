import * as fs from "node:fs";
import * as path from "node:path";
import { isConfirmed } from "../core/claims";
import { describeError } from "../core/errors";
import type { PostProcessRecord } from "../core/post-process";
import type { CommonOptions, Platform, Site } from "../core/platform";
import { nameArtifact } from "../core/model";
import { cancellable } from "./cancel";
import { readOptions } from "./check";
import { flushLog, logOf } from "./engine-log";
import { requirePlatform } from "./platforms";
import type { State } from "./state";

/** Whether the image, and what was made of it, is still there. Only a clear "no" counts as gone; what cannot be told is left as it is. */
export function readImage(id: string, state: State): Promise<{ id?: string; props?: State }> {
  return cancellable(async (signal) => {
    const log = logOf(state.__kiln.urn);
    try {
      const { artifact } = state.__kiln.built;
      const platform = requirePlatform(state.__kiln.type);
      const isClaimed = platform.isClaimed(artifact);
      const missing = isClaimed ? undefined : (artifact.files ?? []).find(isMissing);
      if (missing !== undefined) {
        log.info(`gone: ${missing} does not exist any more`);
        return {};
      }
      const site = isClaimed ? await platform.connect(readOptions(platform, state), { signal }) : undefined;
      const place = site ? await locate(site, state, signal) : "here";
      if (place !== "gone") return { id, props: await readDrift(platform, site, place, id, state, signal) };
      log.info(`gone: ${nameArtifact(artifact)} is not there any more`);
      return {};
    } catch (error) {
      log.warn(`whether the image still exists cannot be told, so it is kept: ${describeError(error)}`);
      return { id, props: state };
    } finally {
      await flushLog();
    }
  });
}

function isMissing(file: string): boolean {
  return !fs.existsSync(path.resolve(process.cwd(), file));
}

async function locate(
  site: Site<CommonOptions>,
  state: State,
  signal: AbortSignal,
): Promise<"here" | "elsewhere" | "gone"> {
  const { artifact, records, engineId, endpoint } = state.__kiln.built;
  const results = records.map((record) => record.artifact);
  const place = await site.locate(artifact, results, signal);
  if (place !== "gone" || (await site.readId(signal)) === engineId) return place;
  throw new Error(
    `it was made on the engine at ${endpoint}, and this is another one (${site.address}). If it is needed here, a change of its \`triggers\` builds it`,
  );
}

/** The state, with what is not as it was: the next `up` runs the post-processors again whose work is gone, and nothing else. */
async function readDrift(
  platform: Platform,
  site: Site<CommonOptions> | undefined,
  place: "here" | "elsewhere",
  id: string,
  state: State,
  signal: AbortSignal,
): Promise<State> {
  const { built } = state.__kiln;
  const drift: string[] = [];
  // Names and files are of one machine: elsewhere they are not there, and not missed.
  const isHome = place === "here" && (!site || (await site.readId(signal)) === built.engineId);
  if (site && isHome && !isConfirmed(await site.listClaims(signal), built.owner, id))
    drift.push("its claim was removed");
  const records: PostProcessRecord[] = [];
  for (const record of built.records) {
    const changes = record.failed ? [] : await listChanges(record, { platform, site, isHome }, state, signal);
    drift.push(...changes);
    records.push(changes.length > 0 ? { ...record, key: "", failed: true } : record);
  }
  const rest = { ...state };
  delete rest.drift;
  if (drift.length === 0) return rest;
  for (const change of drift) logOf(state.__kiln.urn).info(`changed: ${change}`);
  const results = records.filter((record) => !record.failed).map((record) => record.artifact);
  return {
    ...rest,
    ...platform.describeOutputs(built.artifact, results),
    drift,
    __kiln: { ...state.__kiln, built: { ...built, records } },
  };
}

async function listChanges(
  record: PostProcessRecord,
  { platform, site, isHome }: { platform: Platform; site: Site<CommonOptions> | undefined; isHome: boolean },
  state: State,
  signal: AbortSignal,
): Promise<string[]> {
  const changes: string[] = [];
  for (const made of record.made) {
    if (!isHome && !platform.isRemote(made)) continue;
    const file = /^file:(.*)$/s.exec(made)?.[1];
    if (file !== undefined) {
      if (isMissing(file)) changes.push(`${file} does not exist any more`);
      continue;
    }
    try {
      const change = await site?.findChange(made, state.__kiln.built.artifact, signal);
      if (change !== undefined) changes.push(change);
    } catch (error) {
      logOf(state.__kiln.urn).warn(`whether ${made} still exists cannot be told: ${describeError(error)}`);
    }
  }
  return changes;
}
