import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDuration } from "../../src/core/duration";

test("a duration is whole milliseconds, whatever fractions do to a number", () => {
  assert.equal(parseDuration("1h30m"), 5_400_000);
  assert.equal(parseDuration("1.1h"), 3_960_000);
  assert.equal(parseDuration("16.1s"), 16_100);
  assert.equal(parseDuration("1.1h16.1s"), 3_976_100);
  assert.equal(parseDuration("0.5ms0.5ms"), 1);
  assert.throws(() => parseDuration("1 h"), /"1 h" is not a duration such as "30m" or "1h30m"/);
});
