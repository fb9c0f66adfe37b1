/**
 * Images of files that a build has sent and not saved yet: `kiln.local/draft/<machine>:<n>`. They go with the build's
 * containers; what an engine finishes after nobody waits for it any more goes a day later.
 */
import type { DockerDriver } from "./driver";

const PREFIX = "kiln.local/draft/";
const DAY_MS = 24 * 3_600_000;

/** `machine`: the name of the build's first container. */
export function draftRepository(machine: string): string {
  return PREFIX + machine;
}

/** What a container uses stays. */
export async function dropDrafts(driver: DockerDriver, machine: string, signal: AbortSignal): Promise<void> {
  for (const { tag } of await driver.listTags(draftRepository(machine), signal))
    await driver.untagImage(tag, signal);
}

/** Of any build, on any machine. */
export async function collectDrafts(
  driver: DockerDriver,
  signal: AbortSignal,
  nowMs = Date.now(),
): Promise<void> {
  for (const { tags, createdMs } of await driver.listImages(`${PREFIX}*`, signal))
    if (createdMs < nowMs - DAY_MS)
      for (const tag of tags.filter((name) => name.startsWith(PREFIX))) await driver.untagImage(tag, signal);
}
