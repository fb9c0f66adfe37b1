import type { LayerOptions } from "./driver";
import type { Engine } from "./engine";
import { LayerImage, readHistory, type HistoryAnswer } from "./layer-image";

/** Where layers are kept so that an image may be loaded without those which are there. Others want all of them. */
const STORAGE_DRIVERS = ["overlay2"];

/** Whether an engine with this storage driver can put files on top of an image. */
export function takesLayers(storageDriver: string): boolean {
  return STORAGE_DRIVERS.includes(storageDriver);
}

/** Puts the files of an archive on top of an image, and gives the new one's id; undefined if too little is known of that image. */
export async function addLayer(
  engine: Engine,
  options: LayerOptions,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { base } = options;
  const { body: answers } = await engine.request<HistoryAnswer[]>({
    attempt: `Reading the history of ${base.id}`,
    method: "GET",
    path: `/images/${base.id}/history`,
    signal,
  });
  const history = readHistory(answers, base);
  if (!history) return undefined;
  const image = new LayerImage(options, history);
  await engine.followProgress({
    attempt: `Sending files as a layer on ${base.id.slice(0, 19)}`,
    method: "POST",
    path: "/images/load",
    query: { quiet: true },
    body: image.stream(),
    signal,
  });
  return image.id;
}
