import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { canonicalize, computeFingerprint, shortenFingerprint } from "../../src/core/fingerprint";
import type { Json } from "../../src/core/model";

test("the order of keys and absent options do not matter, everything else does", () => {
  const one = computeFingerprint({ a: 1, b: { c: [1, 2], d: undefined as never }, e: undefined });
  assert.equal(one, computeFingerprint({ b: { c: [1, 2] }, a: 1 }));
  assert.notEqual(one, computeFingerprint({ b: { c: [2, 1] }, a: 1 }));
  assert.match(one, /^k1:[0-9a-f]{64}$/);
  assert.equal(shortenFingerprint(one).length, 12);
});

test("two values have one text only if they are equal", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
      const same = canonicalize(a as Json) === canonicalize(b as Json);
      assert.equal(same, isEqual(a, b));
    }),
  );
});

function isEqual(a: unknown, b: unknown): boolean {
  try {
    assert.deepEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
    return true;
  } catch {
    return false;
  }
}
