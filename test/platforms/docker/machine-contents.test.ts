import assert from "node:assert/strict";
import { test } from "node:test";
import { explainObstacle, parseContents } from "../../../src/platforms/docker/machine-contents";

const quiet = `process 1 (sh) S 0 1 1
process 7 (sleep) S 1 1 1
mount /dev/shm
/dev/shm:
total 0
mount /etc/hosts
-rw-r--r-- 1 0 0 174 2026-01-01 00:00:00 +0000 /etc/hosts
`;

function compare(before: string, now: string): string | undefined {
  return explainObstacle(parseContents(before), parseContents(now));
}

test("a machine in which nothing lives on can be saved", () => {
  assert.equal(compare(quiet, quiet), undefined);
  assert.equal(
    compare(quiet, quiet.replace("mount /dev", "process 9 (sh) Z 1 1 1\nmount /dev")),
    undefined,
    "one that has ended",
  );
  const early = quiet.replace("process 7 (sleep) S 1 1 1\n", "");
  assert.equal(compare(early, quiet), undefined, "the sleeper's own");
});

test("a process that lives on is named, one that sleeps as well", () => {
  const served = quiet.replace("mount /dev", "process 30 (my (odd) server) S 1 1 1\nmount /dev");
  assert.equal(compare(quiet, served), "a process lives on (my (odd) server)");
  const asleep = quiet.replace("mount /dev", "process 30 (sleep) S 1 1 1\nmount /dev");
  assert.equal(compare(quiet, asleep), "a process lives on (sleep)");
});

test("content in memory, in a volume, or in a file of the engine's is named by its place", () => {
  const filled = quiet.replace("total 0", "total 4\n-rw-r--r-- 1 0 0 2 2026-01-01 00:00:00 +0000 a");
  assert.equal(compare(quiet, filled), "/dev/shm has content that is not saved with the machine");
  const hosts = quiet.replace("174", "190");
  assert.equal(compare(quiet, hosts), "/etc/hosts has content that is not saved with the machine");
  assert.equal(
    compare(quiet, `${quiet}mount /mnt\n`),
    "/mnt has content that is not saved with the machine",
    "a mount that a step made",
  );
});

test("a file that is called like a line of the list fools nobody", () => {
  const odd = "mount /data\n/data:\nprocess 99 (x) S 1 1 1\n";
  assert.equal(compare(quiet + odd, quiet + odd), undefined);
});

test("what cannot be told is an obstacle", () => {
  assert.match(explainObstacle(undefined, parseContents(quiet)) ?? "", /no `ls`/);
});
