// What runs in the two threads that hash large sources. The lead walks and answers; the helper hashes what the lead
// found so far. They talk over a port of their own, so that the program's own thread has next to nothing to do.
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { EntryHasher } from "./source-hash";
import { type LeadMessage, type SourceJob, type SourceOutcome, runJob } from "./source-job";
import { EntryBatch } from "./source-walk";
import { loadStatCache, locateStatCache } from "./stat-cache";

const entriesPerMessage = 1000;

function lead(main: MessagePort, helper: MessagePort): void {
  main.on("message", (job: SourceJob) => {
    runJob(job, helper).then(
      (outcome) => sendOutcome(main, outcome),
      (failure: unknown) => main.postMessage({ failure } satisfies LeadMessage),
    );
  });
}

function sendOutcome(main: MessagePort, outcome: SourceOutcome): void {
  const send = (message: LeadMessage): void => main.postMessage(message);
  if ("problems" in outcome) return send({ outcome });
  // In portions, since the receiver spends time on each message during which it can do nothing else.
  for (let from = 0; from < outcome.entries.length; from += entriesPerMessage) {
    send({ entries: outcome.entries.slice(from, from + entriesPerMessage) });
  }
  send({ outcome: { summary: outcome.summary, entries: [] } });
}

type HelperMessage = { job: SourceJob } | { batch: EntryBatch } | { end: true };

function help(leader: MessagePort): void {
  let hasher: EntryHasher | undefined;
  leader.on("message", (message: HelperMessage) => {
    if ("job" in message) {
      const { root, ignore, cacheDir, startedMs } = message.job;
      hasher = new EntryHasher(root, startedMs, loadStatCache(locateStatCache(cacheDir, root, ignore)));
    } else if ("batch" in message) {
      const { paths, kinds, memory } = message.batch;
      hasher?.hashBatch(new EntryBatch(paths, kinds, memory));
    } else {
      leader.postMessage({ problems: hasher?.problems, targets: hasher?.targets });
    }
  });
}

const { role, port } = workerData as { role: "lead" | "helper"; port: MessagePort };
if (role === "helper") help(port);
else if (parentPort !== null) lead(parentPort, port);
