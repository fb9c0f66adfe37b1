import { setMaxListeners } from "node:events";
import { sleep, throwIfAborted } from "../core/retry";

/** What sshd allows beside each other unless told otherwise (`MaxSessions`). */
const MOST_CHANNELS = 10;
const RETRY_MS = 100;
const MOST_LONELY_REFUSALS = 20;

/** The machine refused to open a channel, most often because too many are open. */
export function isRefusedChannel(error: unknown): boolean {
  return error instanceof Error && /channel open failure/i.test(error.message);
}

/** Takes turns: a machine opens only so many channels at once, and how many is found out by being refused. */
export class ChannelSlots {
  private limit = MOST_CHANNELS;
  private open = 0;
  private readonly waiting: (() => void)[] = [];

  /** Opens one when it is its turn, and again after a refusal; the second value gives the turn back. */
  async use<T>(signal: AbortSignal, open: () => Promise<T>): Promise<[T, () => void]> {
    setMaxListeners(0, signal); // one for each command that runs or waits is no leak
    for (let lonelyRefusals = 0; ;) {
      await this.take(signal);
      try {
        return [await open(), once(() => this.giveBack())];
      } catch (error) {
        this.giveBack();
        if (!isRefusedChannel(error)) throw error;
        if (this.open > 0) this.limit = Math.max(1, Math.min(this.limit, this.open));
        else if (++lonelyRefusals >= MOST_LONELY_REFUSALS)
          throw new Error(
            `Opening a channel: refused ${lonelyRefusals} times although none of ours is open. Does sshd's MaxSessions allow one?`,
            { cause: error },
          );
      }
      await sleep(RETRY_MS, signal);
    }
  }

  private async take(signal: AbortSignal): Promise<void> {
    throwIfAborted(signal);
    while (this.open >= this.limit) {
      let wake: () => void = () => undefined;
      await new Promise<void>((resolve) => {
        wake = resolve;
        this.waiting.push(wake);
        signal.addEventListener("abort", wake, { once: true });
      });
      signal.removeEventListener("abort", wake);
      if (signal.aborted) {
        const index = this.waiting.indexOf(wake);
        if (index >= 0) this.waiting.splice(index, 1);
        else this.waiting.shift()?.(); // a turn that was meant for us goes to the next
        throwIfAborted(signal);
      }
    }
    this.open++;
  }

  private giveBack(): void {
    this.open--;
    this.waiting.shift()?.();
  }
}

function once(run: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) run();
    isDone = true;
  };
}
