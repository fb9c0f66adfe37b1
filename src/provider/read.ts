import * as fs from "node:fs";
import * as path from "node:path";
import { describeError } from "../core/errors";
import { cancellable } from "./cancel";
import { readOptions } from "./check";
import { flushLog, logOf } from "./engine-log";
import { requirePlatform } from "./platforms";
import type { State } from "./state";

/** Whether the image is still there. Only a clear "no" counts as gone; what cannot be told is left as it is. */
export function readImage(id: string, state: State): Promise<{ id?: string; props?: State }> {
  return cancellable(async (signal) => {
    const log = logOf(state.__kiln.urn);
    const same = { id, props: state };
    try {
      const { artifact } = state.__kiln.built;
      const missing = (artifact.files ?? []).find(
        (file) => !fs.existsSync(path.resolve(process.cwd(), file)),
      );
      if (missing !== undefined) {
        log.info(`gone: ${missing} does not exist any more`);
        return {};
      }
      if ((artifact.files ?? []).length > 0 || artifact.kind === "none") return same;
      const place = await locate(state, signal);
      if (place !== "gone") return same;
      log.info(`gone: ${artifact.id.slice(0, 19)} is not on the engine any more`);
      return {};
    } catch (error) {
      log.warn(`whether the image still exists cannot be told, so it is kept: ${describeError(error)}`);
      return same;
    } finally {
      await flushLog();
    }
  });
}

async function locate(state: State, signal: AbortSignal): Promise<"here" | "elsewhere" | "gone"> {
  const platform = requirePlatform(state.__kiln.type);
  const { artifact, records, engineId, endpoint } = state.__kiln.built;
  const site = await platform.connect(readOptions(platform, state), { signal });
  const place = await site.locate(
    artifact,
    records.map((record) => record.artifact),
    signal,
  );
  if (place !== "gone" || (await site.readId(signal)) === engineId) return place;
  throw new Error(`it was made on the engine at ${endpoint}, and this is another one (${site.address})`);
}
