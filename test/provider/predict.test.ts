import assert from "node:assert/strict";
import { before, test } from "node:test";
import { UNKNOWN } from "../../src/core/schema";
import { check } from "../../src/provider";
import type { Inputs } from "../../src/provider/state";
import { mustCheck, withHidden } from "../support/check";
import { makeFolder } from "../support/context";

before(() => {
  // No engine that could tell, as on a machine that only previews.
  process.env["DOCKER_HOST"] = "unix:///nonexistent/docker.sock";
});

const tag = (...tags: string[]): object => ({ type: "docker-tag", repository: "ghcr.io/me/app", tags });
const push = { type: "docker-push" };
const ofImage = { imageId: "sha256:1", artifactId: "sha256:1", sourceImageId: "sha256:2", sizeBytes: 3 };

function pick(inputs: Inputs, names: string[]): Record<string, unknown> {
  return Object.fromEntries(names.flatMap((name) => (name in inputs ? [[name, inputs[name]]] : [])));
}

test("without an engine the image's outputs stay, and what post-processors make follows from the options alone", async (t) => {
  process.chdir(makeFolder(t));
  const before = { image: "busybox", postProcessors: [tag("1.0")] };
  const olds = { ...(await mustCheck(before)), ...ofImage };
  const named = { reference: "ghcr.io/me/app:1.0", references: ["ghcr.io/me/app:1.0"] };
  const unpushed = { digest: "", pinnedReference: "" };
  const cases: [postProcessors: unknown, expected: object][] = [
    [before.postProcessors, { ...named, ...unpushed }],
    [[tag("2.0")], { reference: "ghcr.io/me/app:2.0", references: ["ghcr.io/me/app:2.0"], ...unpushed }],
    [undefined, { reference: "", references: [], ...unpushed }],
    [[tag("1.0"), push], named],
    [[tag(UNKNOWN)], {}],
    [[[tag("1.0")], [tag("1.0", UNKNOWN), push]], {}],
    [[tag("1.0"), { type: UNKNOWN }], {}],
    [[tag("1.0"), UNKNOWN], {}],
    [UNKNOWN, {}],
  ];
  const names = [...Object.keys(ofImage), ...Object.keys(named), ...Object.keys(unpushed)];
  for (const [postProcessors, expected] of cases) {
    const inputs = await mustCheck({ image: "busybox", postProcessors }, olds);
    assert.deepEqual(pick(inputs, names), { ...ofImage, ...expected }, JSON.stringify(postProcessors));
  }
  const rebuilt = await mustCheck({ ...before, triggers: { a: "1" } }, olds);
  assert.deepEqual(pick(rebuilt, names), { ...named, ...unpushed });
});

test("all outputs of a machine's disk are the image's: unknown post-processors leave them known", async (t) => {
  process.chdir(makeFolder(t));
  process.env["PULUMI_KILN_HOME"] = process.cwd();
  const ofDisk = { path: "images/a.qcow2", sha256: "1", sizeBytes: 3, efiVariablesPath: "", artifactId: "1" };
  const declare = (postProcessors: unknown): Inputs => {
    const inputs = withHidden({
      isoUrl: "https://example.com/a.iso",
      isoChecksum: `sha256:${"a".repeat(64)}`,
      sshUsername: "me",
      sshPassword: "password",
      postProcessors,
    });
    return { ...inputs, __kiln: { ...inputs.__kiln, type: "qemu:Image" } };
  };
  const { inputs: olds, failures } = await check({}, declare([{ type: "manifest" }]));
  assert.deepEqual(failures, undefined);
  const { inputs } = await check({ ...olds, ...ofDisk }, declare(UNKNOWN));
  assert.ok(inputs);
  assert.deepEqual(pick(inputs, Object.keys(ofDisk)), ofDisk);
});
