import assert from "node:assert/strict";
import { test } from "node:test";
import { describeReuse, hashParts, recordBuild } from "../../src/core/stage-reason";

function record(
  files: Record<string, string>[],
  environment: Record<string, string> = {},
): ReturnType<typeof recordBuild> {
  const step = { title: "", identity: "", givenSecret: false, actsElsewhere: false };
  return recordBuild(
    { environment },
    files.map((parts) => ({ ...step, parts })),
  );
}

const before = record([{ "a.txt": "1" }, { inline: "1" }, { "app/main.py": "1", "app/x.py": "1" }]);

test("the changed file is named", () => {
  const now = record([{ "a.txt": "1" }, { inline: "1" }, { "app/main.py": "2", "app/x.py": "1" }]);
  assert.equal(describeReuse(2, now, before), "2 steps reused; step 3 runs: app/main.py changed");
});

test("what all steps run under is named, entry by entry", () => {
  const now = record([{ "a.txt": "1" }], { MODE: "x" });
  assert.equal(describeReuse(0, now, before), "no step reused; step 1 runs: environment.MODE changed");
});

test("a step that is new, was not saved, or whose stage is gone", () => {
  const more = record([...before.steps.map(({ parts }) => parts), { inline: "2" }]);
  assert.equal(describeReuse(3, more, before), "3 steps reused; step 4 runs: it is new");
  assert.equal(describeReuse(1, before, before), "1 step reused; step 2 runs: no stage of it is left");
  const unsaved = { ...before, steps: before.steps.map((step) => ({ ...step, unsaved: "too quick" })) };
  assert.equal(describeReuse(1, before, unsaved), "1 step reused; step 2 runs: it was not saved: too quick");
});

test("all steps, and a first build, of which there is nothing to say", () => {
  assert.equal(describeReuse(3, before, before), "all 3 steps reused");
  assert.equal(describeReuse(3, before, undefined), "all 3 steps reused");
  assert.equal(describeReuse(0, before, undefined), undefined);
  assert.equal(
    describeReuse(1, before, undefined),
    "1 step reused; step 2 runs: it was not built here before",
  );
});

test("maps are told apart by entry, and no value is kept", () => {
  const parts = hashParts({ environment: { TOKEN: "hunter2" }, inline: ["hunter2"], none: undefined });
  assert.deepEqual(Object.keys(parts), ["environment.TOKEN", "inline"]);
  assert.doesNotMatch(JSON.stringify(parts), /hunter2/);
});
