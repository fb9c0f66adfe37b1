import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import type { ProcessIdentity } from "../../src/core/journal";
import { listJournal } from "../support/death";
import {
  createQemuStack,
  findProcesses,
  listImages,
  listProcesses,
  missingQemu,
  startFromDisk,
} from "../support/qemu";
import { SEED } from "../support/seed";
import type { Stack } from "../support/stack";

/** `KILN_ENDS=20` tries more than there is time for in every run. */
const ROUNDS = Number(process.env["KILN_ENDS"] ?? 3);

function declare(step: string): Record<string, Record<string, unknown>> {
  const provisioners = [
    { type: "shell", inline: ["echo kept"], cache: true },
    { type: "shell", inline: [step], cache: true },
  ];
  const bootTest = { commands: ["true"] };
  return {
    web: { ...startFromDisk(), provisioners, bootTest, keep: 0, triggers: { run: `${process.pid}` } },
  };
}

test(
  `after ${ROUNDS} builds that were killed or cancelled at random moments the next one leaves nothing of them`,
  { skip: missingQemu("KILN_QEMU_DISK") },
  async (t) => {
    // Other builds of this machine keep their sockets elsewhere.
    const temporary = fs.mkdtempSync(path.join(os.tmpdir(), "ends-"));
    process.env["TMPDIR"] = temporary;
    const stack = await createQemuStack(t, `qemu-ends-${process.pid}`, declare("true"));
    t.after(() => fs.rmSync(temporary, { recursive: true, force: true }));
    await stack.up();
    stack.declare({ images: declare("echo whole") });
    const startedAt = Date.now();
    await stack.up();
    const buildMs = Date.now() - startedAt;

    const random = makeRandom(SEED);
    for (let round = 0; round < ROUNDS; round++) {
      stack.declare({ images: declare(`echo ${round}; sleep 1`) });
      const up = stack.start(["up", "--yes", "--skip-preview"]);
      const [afterMs, isKilled] = [Math.floor(random() * buildMs), random() < 0.5];
      await Promise.race([delay(afterMs), up.done]);
      if (isKilled) for (const pid of listProviders(stack)) kill(pid, "SIGKILL");
      else kill(up.pid, "SIGINT");
      const { code } = await up.done;
      t.diagnostic(
        `${isKilled ? "killed" : "cancelled"} after ${afterMs} of ${buildMs} ms: ended with ${code}`,
      );
    }

    stack.declare({ images: declare("echo done") });
    await stack.up();
    assert.deepEqual(listProcesses(stack), []);
    assert.deepEqual(listJournal(stack.home), []);
    assert.deepEqual(listAbandonedLocks(stack), []);
    assert.deepEqual(listFiles(path.join(stack.home, "state", "qemu", "drafts")), []);
    assert.equal(listImages(stack).length, 1, listImages(stack).join(", "));
    assert.deepEqual(listRunFolders(temporary), []);
    await stack.destroy();
    assert.deepEqual(listImages(stack), []);
    assert.deepEqual(listFiles(path.join(stack.home, "cache", "qemu")), []);
  },
);

function listRunFolders(temporary: string): string[] {
  return fs.readdirSync(temporary).filter((name) => /^kiln-.*-qemu$/.test(name));
}

/** The same each time for one seed: https://en.wikipedia.org/wiki/Lehmer_random_number_generator */
function makeRandom(seed: number): () => number {
  let state = (seed % 2147483646) + 1;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

function listProviders(stack: Stack): number[] {
  return findProcesses(stack, (command) => command.includes("dynamic-provider")).map((line) =>
    parseInt(line),
  );
}

/** It may have ended by itself. */
function kill(pid: number, signal: "SIGKILL" | "SIGINT"): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function listFiles(folder: string): string[] {
  if (!fs.existsSync(folder)) return [];
  const names = fs.readdirSync(folder, { recursive: true }) as string[];
  return names.filter((name) => fs.statSync(path.join(folder, name)).isFile());
}

/** Locks of processes that run no more. */
function listAbandonedLocks(stack: Stack): string[] {
  return listFiles(stack.home)
    .filter((name) => /(^|\/)locks?\/|\.lock$|(^|\/)lock$/.test(name))
    .filter((name) => {
      const { pid } = JSON.parse(fs.readFileSync(path.join(stack.home, name), "utf8")) as ProcessIdentity;
      return !fs.existsSync(`/proc/${pid}`);
    });
}
