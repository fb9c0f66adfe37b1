import type { BuildContext } from "./context";
import { parseDuration, type Duration } from "./duration";
import { sleep, throwIfAborted, withDeadline } from "./retry";

/** How a unit is run: what every provisioner takes, and of the post-processors `shellLocal`. */
export interface TrySettings {
  title: string;
  pauseBefore?: Duration;
  timeout?: Duration;
  maxRetries?: number;
}

/** Each try pauses and gets its whole time anew, as in Packer; unlike there, `timeout` holds beside `pauseBefore` too. */
export async function runTries<T>(
  context: BuildContext,
  { title, pauseBefore, timeout, maxRetries = 0 }: TrySettings,
  run: (context: BuildContext) => Promise<T>,
): Promise<T> {
  const timeoutMs = timeout === undefined ? undefined : parseDuration(timeout);
  const tries = maxRetries + 1;
  let first: unknown;
  for (let attempt = 1; attempt <= tries; attempt++) {
    try {
      if (pauseBefore) await sleep(parseDuration(pauseBefore), context.signal);
      return await withDeadline(`${title} (timeout ${timeout})`, timeoutMs, context.signal, (signal) =>
        run({ ...context, signal }),
      );
    } catch (error) {
      throwIfAborted(context.signal);
      first ??= error;
      if (attempt < tries) context.log.info(`try ${attempt} of ${tries} failed; again`);
    }
  }
  throw first;
}
