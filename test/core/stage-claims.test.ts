import assert from "node:assert/strict";
import { test } from "node:test";
import type { Claim } from "../../src/core/claims";
import {
  findNewest,
  formatStageMark,
  listEvicted,
  listObsolete,
  listOwn,
  parseStageMark,
  type StageMark,
} from "../../src/core/stage-claims";

const MINE = "aaaaaaaa00000000";
const OTHER = "bbbbbbbb00000000";
/** The same resource, in a create that never returned. */
const LOST = "aaaaaaaa11111111";

function mark(key: string, owner: string, sequence: number, more: Partial<StageMark> = {}): StageMark {
  return {
    key,
    owner,
    id: `${sequence}-0000`,
    stageId: `image of ${key}`,
    ownBytes: 10,
    createdMs: 0,
    ...more,
  };
}

function claim(owner: string, sequence: number): Claim {
  return {
    owner: `p/s/${owner}`,
    fingerprint: "k1:0",
    id: `${sequence}-0000`,
    state: "live",
    artifactId: "x",
  };
}

test("a mark can be written and read, and nothing else is one", () => {
  const text = formatStageMark(MINE, "1700000000000-12ab");
  assert.deepEqual(parseStageMark(text), { owner: MINE, id: "1700000000000-12ab" });
  for (const bad of ["latest", `${MINE}-1`, `k1-${"0".repeat(64)}-1-0000-live`, ""])
    assert.equal(parseStageMark(bad), undefined);
});

test("the stage that was marked last is the one that a key means", () => {
  const marks = [mark("a", MINE, 1), mark("a", OTHER, 3, { stageId: "new" }), mark("a", MINE, 2)];
  assert.deepEqual([...findNewest(marks)], [["a", "new"]]);
});

test("destroy drops the resource's own marks, those of its lost creates too, but none that an image claims", () => {
  const marks = [mark("a", MINE, 1), mark("a", OTHER, 2), mark("b", LOST, 3), mark("c", LOST, 4)];
  assert.deepEqual(
    listOwn(marks, [claim(LOST, 4)], MINE).map(({ key, owner }) => [key, owner]),
    [
      ["a", MINE],
      ["b", LOST],
    ],
  );
});

test("the mark of a replaced image goes where another holds the stage, and stays where it is the last", () => {
  const marks = [mark("a", MINE, 1), mark("a", MINE, 2), mark("b", MINE, 1), mark("c", OTHER, 1)];
  assert.deepEqual(listObsolete(marks, [claim(MINE, 2)], MINE), [marks[0]]);
  const old = mark("b", MINE, 1, { stageId: "hidden" });
  assert.deepEqual(listObsolete([old, mark("b", MINE, 2)], [claim(MINE, 2)], MINE), [old]);
});

test("of the unclaimed the most recently used stay, up to the limits", () => {
  const marks = [
    mark("claimed", MINE, 1),
    mark("new", OTHER, 2, { createdMs: 90 }),
    mark("used", OTHER, 3),
    mark("unused", OTHER, 4, { createdMs: 50 }),
  ];
  const evict = (maxBytes: number, maxAgeMs: number): string[] =>
    listEvicted(
      marks,
      [claim(MINE, 1)],
      { maxBytes, maxAgeMs },
      (key) => (key === "used" ? 95 : undefined),
      100,
    ).map(({ key }) => key);
  assert.deepEqual(evict(30, 100), []);
  assert.deepEqual(evict(20, 100), ["unused"]);
  assert.deepEqual(evict(10, 100), ["new", "unused"]);
  assert.deepEqual(evict(0, 100), ["used", "new", "unused"]);
  assert.deepEqual(evict(30, 20), ["unused"]);
});
