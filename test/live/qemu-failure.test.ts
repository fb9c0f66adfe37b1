import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { listJournal } from "../support/death";
import { createQemuStack, listImages, listProcesses, missingQemu, startFromDisk } from "../support/qemu";
import type { Stack } from "../support/stack";

function declare(step: string, more: object = {}): Record<string, Record<string, unknown>> {
  return {
    web: {
      ...startFromDisk(),
      provisioners: [
        { type: "shell", inline: ["echo kept"], cache: true },
        { type: "shell", inline: [step], cache: true },
      ],
      shutdownCommand: "sudo shutdown -P now",
      triggers: { run: String(process.pid) },
      keep: 0,
      ...more,
    },
  };
}

/** Moments at which the process of the build is killed, by what can be seen from outside. */
const MOMENTS: Record<string, (stack: Stack, log: string) => boolean> = {
  "the machine boots": (stack) => listProcesses(stack).some((line) => line.includes("qemu-system")),
  "the memory is saved": (stack) => listProcesses(stack).some((line) => /^\d+ cat\b/.test(line)),
  "a step runs": (_stack, log) => /step 4 of/.test(log),
  "the image is written": (stack) => listImages(stack).some((name) => name.includes(".draft")),
};

test(
  "no image after a failed boot test; after a build that was killed at any moment the next `up` leaves nothing",
  { skip: missingQemu("KILN_QEMU_DISK") },
  async (t) => {
    const bootTest = { commands: ["echo looked; test -e /nowhere"] };
    const stack = await createQemuStack(t, `qemu-kill-${process.pid}`, declare("true", { bootTest }));
    const text = await stack.failingUp();
    assert.match(text, /Testing the image: `echo looked; test -e \/nowhere` ended with exit code 1/);
    assert.deepEqual([listImages(stack), listProcesses(stack)], [[], []]);

    for (const [round, [title, isMoment]] of Object.entries(MOMENTS).entries()) {
      stack.declare({ images: declare(`echo ${round}; sleep 1`) });
      const up = stack.start(["up", "--yes", "--skip-preview"]);
      let isOver = false;
      const done = up.done.then(() => (isOver = true));
      let killed = 0;
      while (!isOver && killed === 0) {
        const [entry] = listJournal(stack.home);
        if (entry && isMoment(stack, up.text())) {
          killed = entry.owner.pid;
          process.kill(killed, "SIGKILL");
        } else await delay(10);
      }
      await done;
      assert.notEqual(killed, 0, `killed when ${title}\n${up.text()}`);
      await stack.up();
      assert.deepEqual(listProcesses(stack), [], title);
      assert.deepEqual(listJournal(stack.home), [], title);
      assert.equal(listImages(stack).length, 1, `${title}: ${listImages(stack).join(", ")}`);
    }
    await stack.destroy();
    assert.deepEqual(listImages(stack), []);
  },
);
