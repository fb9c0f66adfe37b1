import assert from "node:assert/strict";
import { before, test } from "node:test";
import { UNKNOWN } from "../../src/core/schema";
import { listShortSecrets } from "../../src/provider/check";
import { mustCheck, write } from "../support/check";
import { makeFolder } from "../support/context";

before(() => {
  // No engine: what is tested here must not need one.
  process.env["DOCKER_HOST"] = "unix:///nonexistent/docker.sock";
});

test("a path, a list of them or one in a list may be unknown: nothing is read, and the fingerprint is unknown", async (t) => {
  const folder = makeFolder(t);
  process.chdir(folder);
  write(folder, { "app/main.py": "x", "run.sh": "x" });
  const upload = { type: "file", destination: "/app" };
  const units = [
    { type: "shell", scripts: UNKNOWN },
    { type: "shell", scripts: ["run.sh", UNKNOWN] },
    { type: "shell-local", scripts: UNKNOWN },
    { ...upload, sources: UNKNOWN },
    { ...upload, sources: [UNKNOWN, "app"] },
    { ...upload, source: "app", ignore: UNKNOWN },
    // Whether this is a path of this machine is not known.
    { ...upload, source: "/nowhere/but/in/the/machine", direction: UNKNOWN },
  ];
  for (const unit of units) {
    const { fingerprint, contents } = await mustCheck({ image: "busybox", provisioners: [unit] });
    assert.equal(fingerprint, UNKNOWN, JSON.stringify(unit));
    assert.deepEqual(contents, {}, JSON.stringify(unit));
  }
  const known = await mustCheck({
    image: "busybox",
    postProcessors: [
      { type: "shell-local", scripts: UNKNOWN },
      { type: "docker-tag", repository: "a", tags: UNKNOWN },
      { type: "checksum", checksumTypes: UNKNOWN, output: UNKNOWN },
      { type: "docker-save", path: UNKNOWN },
    ],
  });
  assert.notEqual(known.fingerprint, UNKNOWN, "post-processors do not shape the image");
});

test("a secret that is too short to be masked is named, one that is unknown is not", () => {
  assert.deepEqual(listShortSecrets({ A: "1", B: "long-enough", C: UNKNOWN }), ["A"]);
  assert.deepEqual(listShortSecrets(UNKNOWN), []);
  assert.deepEqual(listShortSecrets(undefined), []);
});
