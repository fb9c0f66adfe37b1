import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formatReference, parseReference, validateReference } from "../../../src/platforms/docker/reference";

const sha = `sha256:${"a".repeat(64)}`;

describe("references", () => {
  for (const [text, full, familiar] of [
    ["python:3.9-slim", "docker.io/library/python:3.9-slim", "python:3.9-slim"],
    ["busybox", "docker.io/library/busybox", "busybox"],
    ["docker.io/busybox", "docker.io/library/busybox", "busybox"],
    ["index.docker.io/me/app", "docker.io/me/app", "me/app"],
    ["me/app:1", "docker.io/me/app:1", "me/app:1"],
    ["localhost/app", "localhost/app", "localhost/app"],
    ["localhost:5000/a/b-c__d.e:V1", "localhost:5000/a/b-c__d.e:V1", "localhost:5000/a/b-c__d.e:V1"],
    ["ghcr.io/me/app@" + sha, "ghcr.io/me/app@" + sha, "ghcr.io/me/app@" + sha],
    ["app:1@" + sha, "docker.io/library/app:1@" + sha, "app:1@" + sha],
    ["[::1]:5000/app:x", "[::1]:5000/app:x", "[::1]:5000/app:x"],
    ["MyHost/app", "MyHost/app", "MyHost/app"],
  ] as const) {
    test(text, () => {
      const reference = parseReference(text);
      assert.equal(formatReference(reference), full);
      assert.equal(formatReference(reference, { familiar: true }), familiar);
      assert.deepEqual(parseReference(full), reference);
      assert.deepEqual(parseReference(familiar), reference);
    });
  }

  for (const [text, reason] of [
    ["", /the name is empty/],
    [":1", /the name is empty/],
    ["My-App", /must be lower case: (library\/)?my-app/],
    ["me/App", /must be lower case/],
    ["a//b", /empty part/],
    ["/a", /empty part/],
    ["a b", /white space/],
    ["a:", /tag after the colon is empty/],
    [`a:${"x".repeat(129)}`, /129 characters; 128/],
    ["a:-1", /"-1" is no valid tag/],
    ["a:1:2", /"1:2" is no valid tag/],
    ["a@b@c", /more than one @/],
    ["a@sha256:abc", /no valid digest/],
    [`a@sha256:${"A".repeat(64)}`, /lower-case hex/],
    ["a@", /no valid digest/],
    ["a..b", /"a\.\.b" is no valid part/],
    ["a___b", /no valid part/],
    ["https://ghcr.io/a", /Leave off the scheme/],
    ["-x.io/a", /no valid host/],
    ["f".repeat(64), /image id/],
    [`x/${"y".repeat(256)}`, /255 are allowed/],
  ] as const) {
    test(`${JSON.stringify(text.slice(0, 30))} is refused`, () => {
      assert.match(validateReference(text) ?? "", reason);
      assert.throws(() => parseReference(text), /^Error: Reading the image reference "/);
    });
  }
});
