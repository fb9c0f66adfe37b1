import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseSize } from "../../src/core/size";
import {
  computeStageKeys,
  estimateCost,
  findLongestPrefix,
  judgeStep,
  learnCosts,
  listUsable,
  type StageStep,
} from "../../src/core/stages";

function step(title: string, more: Partial<StageStep> = {}): StageStep {
  return { title, identity: title, parts: {}, givenSecret: false, actsElsewhere: false, ...more };
}

const machine = { image: "a", user: undefined, environment: { B: "2", A: "1" } };

test("a change of a step gives new names from that step on, a change of what it runs under gives all new", () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { minLength: 1 }), fc.nat(), (texts, n) => {
      const at = n % texts.length;
      const identities = texts.map((identity) => ({ identity }));
      const keys = computeStageKeys(machine, identities);
      const edited = computeStageKeys(
        machine,
        identities.map(({ identity }, index) => ({ identity: index === at ? `${identity}!` : identity })),
      );
      const under = computeStageKeys({ ...machine, user: "me" }, identities);
      assert.equal(new Set(keys).size, texts.length + 1);
      keys.forEach((key, index) => {
        assert.equal(key === edited[index], index <= at);
        assert.notEqual(key, under[index]);
      });
    }),
  );
  const reordered = { environment: { A: "1", B: "2" }, image: "a" };
  assert.deepEqual(computeStageKeys(reordered, []), computeStageKeys(machine, []));
});

test("the names of stages are for ever", () => {
  assert.deepEqual(computeStageKeys({ image: "a" }, [{ identity: { type: "shell" } }]), [
    "adea398591c18c7614449683f2b30d2e",
    "3010fbbf94c957c54a26a6f7185e4ea8",
  ]);
});

test("the longest way that may be used and is there is taken", () => {
  const keys = ["0", "1", "2", "3"];
  assert.equal(findLongestPrefix(keys, [true, true, true, true], new Set(["1", "2"])), 2);
  assert.equal(findLongestPrefix(keys, [true, true, false, true], new Set(["1", "2"])), 1);
  assert.equal(findLongestPrefix(keys, [true, true, true, true], new Set(["0"])), 0);
});

test("what acts outside of the machine ends all stages, unless that is said to be no matter", () => {
  const local = step("local", { actsElsewhere: true });
  assert.deepEqual(listUsable([step("a"), local, step("b")]), [true, true, false, false]);
  assert.deepEqual(listUsable([step("a"), { ...local, cache: true }, step("b")]), [true, true, true, true]);
});

test("no stage after a step that was given a secret, until a later one asks for it", () => {
  const secret = step("login", { givenSecret: true });
  assert.deepEqual(listUsable([secret, step("a"), step("b")]), [true, false, false, false]);
  assert.deepEqual(listUsable([{ ...secret, cache: true }, step("a")]), [true, false, false]);
  const asking = step("clean", { cache: true });
  assert.deepEqual(listUsable([secret, asking, step("b")]), [true, false, true, true]);
  assert.equal(judgeStep({ givenSecret: "login" }, asking).verdict, "searched");
  assert.deepEqual(listUsable([secret, asking, secret, step("b")]), [true, false, true, false, false]);
});

test("`cache: false` is no stage after that one step", () => {
  assert.deepEqual(listUsable([step("a", { cache: false }), step("b")]), [true, false, true]);
});

test("costs are learnt from what was measured", () => {
  assert.equal(estimateCost({}, 0), undefined);
  const asked = learnCosts({}, { askMs: 50 });
  assert.equal(estimateCost(asked, 0), 500);
  const saved = learnCosts(asked, { saveMs: 200, sizeBytes: 0 });
  assert.equal(estimateCost(saved, 0), 200);
  assert.equal(estimateCost(learnCosts(saved, { saveMs: 400 }), 0), 260);
  const large = learnCosts(saved, { saveMs: 1200, sizeBytes: 50_000_000 });
  assert.equal(estimateCost(large, 50_000_000), 1200);
  assert.equal(estimateCost(learnCosts(large, { restoreMs: 30 }), 0), 230);
});

test("amounts of data", () => {
  assert.equal(parseSize("10GB"), 10e9);
  assert.equal(parseSize("1.5 MB"), 1.5e6);
  assert.throws(() => parseSize("10 gigs"), /"10 gigs" is not an amount of data such as/);
});
