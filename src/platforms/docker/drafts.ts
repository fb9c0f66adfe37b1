/**
 * Images of files that a build has sent and not saved yet: `kiln.local/draft/<machine>:<n>`. They go with the build's
 * containers; what an engine finishes after nobody waits for it any more goes with a later build or delete.
 */
import type { BuildContext } from "../../core/context";
import { sleep } from "../../core/retry";
import type { DockerDriver } from "./driver";
import { nameContainer } from "./container-name";

const PREFIX = "kiln.local/draft/";
/** A container is made of it as soon as it is loaded, and keeps it from then on. */
const ABANDONED_MS = 5 * 60_000;
const POLL_MS = 50;
const UNLOAD_MS = 10_000;
/** After Ctrl-C all must be over in three seconds. */
const INTERRUPTED_MS = 1500;

/** `machine`: the name of the build's first container. */
export function draftRepository(machine: string): string {
  return PREFIX + machine;
}

/** What a container uses stays. */
export async function dropDrafts(driver: DockerDriver, machine: string, signal: AbortSignal): Promise<void> {
  for (const tag of await listDrafts(driver, machine, signal)) await driver.untagImage(tag, signal);
}

export async function listDrafts(
  driver: DockerDriver,
  machine: string,
  signal: AbortSignal,
): Promise<string[]> {
  const repository = draftRepository(machine);
  const tags = (await driver.listTags(repository, signal)).map(({ tag }) => tag);
  return tags.filter((tag) => tag.startsWith(`${repository}:`));
}

/**
 * An engine that has received all files loads them to the end, though nobody waits for the answer: it is waited for at the
 * end of the build, as long as there is time.
 */
export function deferUnload(context: BuildContext, driver: DockerDriver): void {
  const machine = nameContainer(context.buildId);
  context.defer(
    "removing the files that the engine still loads",
    async (signal) => {
      const until = Date.now() + (context.signal.aborted ? INTERRUPTED_MS : UNLOAD_MS);
      while ((await listDrafts(driver, machine, signal)).length === 0 && Date.now() < until)
        await sleep(POLL_MS, signal);
    },
    "unless-kept",
  );
}

/** Of any build, on any machine: those that no container was made of in time. */
export async function collectDrafts(
  driver: DockerDriver,
  signal: AbortSignal,
  nowMs = Date.now(),
): Promise<void> {
  for (const { tags, createdMs } of await driver.listImages(`${PREFIX}*`, signal))
    if (createdMs < nowMs - ABANDONED_MS)
      for (const tag of tags.filter((name) => name.startsWith(PREFIX))) await driver.untagImage(tag, signal);
}
