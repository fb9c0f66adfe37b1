import { join } from "node:path";
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import type { SourceEntry } from "./source-merkle";
import type { LeadMessage, SourceJob, SourceOutcome } from "./source-job";

/** Starting two threads takes longer than most sources do: a build that reads one four times needs them again. */
const KEPT_MS = 5000;

let threads: SourceThreads | undefined;
let ending: NodeJS.Timeout | undefined;
let waitingCount = 0;
let lastTurn: Promise<unknown> = Promise.resolve();

/**
 * Hashes a source in threads of its own. One job at a time in the whole process, since each uses two threads; they end
 * some seconds after the last job, and do not keep the program from ending before.
 */
export async function runJobInThreads(job: SourceJob, signal?: AbortSignal): Promise<SourceOutcome> {
  waitingCount++;
  const turn = lastTurn.then(async () => {
    clearTimeout(ending);
    try {
      signal?.throwIfAborted();
      threads ??= new SourceThreads();
      return await threads.run(job, signal);
    } catch (error) {
      endThreads();
      throw error;
    } finally {
      if (--waitingCount === 0) ending = setTimeout(endThreads, KEPT_MS).unref();
    }
  });
  // Whoever asked for a job hears of its failure; the next in the queue need not.
  lastTurn = turn.catch(() => undefined);
  return rejectOnAbort(turn, signal);
}

export function endThreads(): void {
  threads?.end();
  threads = undefined;
}

/** For who waits in the queue: an abort is answered at once, not when its turn comes. */
function rejectOnAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

class SourceThreads {
  private readonly lead: Worker;
  private readonly helper: Worker;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    this.lead = startWorker("lead", port1);
    this.helper = startWorker("helper", port2);
    // Of one that ends while it waits nobody else hears.
    for (const worker of [this.lead, this.helper])
      worker
        .on("error", () => undefined)
        .on("exit", () => {
          if (threads === this) endThreads();
        });
  }

  run(job: SourceJob, signal?: AbortSignal): Promise<SourceOutcome> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        stopListening();
        reject(
          signal?.aborted
            ? (signal.reason as Error)
            : new Error(`Hashing ${job.root}: ${describe(error)}`, { cause: error }),
        );
      };
      const exit = (code: number): void => fail(new Error(`a thread ended early with code ${code}`));
      const entries: SourceEntry[] = [];
      const receive = (message: LeadMessage): void => {
        if ("failure" in message) return fail(message.failure);
        if ("entries" in message) return void entries.push(...message.entries);
        stopListening();
        resolve("summary" in message.outcome ? { ...message.outcome, entries } : message.outcome);
      };
      const stopListening = (): void => {
        this.lead.unref();
        this.helper.unref();
        this.lead.off("message", receive);
        signal?.removeEventListener("abort", fail);
        for (const worker of [this.lead, this.helper]) worker.off("error", fail).off("exit", exit);
      };
      this.lead.on("message", receive);
      signal?.addEventListener("abort", fail);
      this.lead.ref();
      this.helper.ref();
      for (const worker of [this.lead, this.helper]) worker.on("error", fail).on("exit", exit);
      this.lead.postMessage(job);
    });
  }

  end(): void {
    for (const worker of [this.lead, this.helper]) void worker.terminate();
  }
}

function startWorker(role: "lead" | "helper", port: MessagePort): Worker {
  return new Worker(join(__dirname, "source-worker.js"), {
    workerData: { role, port },
    transferList: [port],
    // Flags of the program, such as one that waits for a debugger, are not meant for these.
    execArgv: [],
    // A walk makes many objects that live as long as it: collecting them again and again would take a tenth of the time.
    resourceLimits: { maxYoungGenerationSizeMb: 64 },
  });
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
