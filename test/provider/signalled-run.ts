/** A process of its own, in which one build has answered but its machine is still on its way out, and another build runs. */
import { cancellable, trackCleaning } from "../../src/provider/cancel";

const tell = (event: string): Promise<void> =>
  new Promise((resolve) => process.send?.(event, undefined, undefined, () => resolve()));
const removed = new Promise((resolve) => process.once("message", resolve));

void cancellable((): Promise<void> => {
  trackCleaning(removed.then(() => tell("removed")));
  return Promise.resolve();
});

const build = cancellable(
  (signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error));
      void tell("building");
    }),
);
build.catch(() => tell("answered"));
