import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test, type TestContext } from "node:test";
import { probeAccelerator } from "../../../src/platforms/qemu/accelerator-probe";
import { makeFolder } from "../../support/context";
import { missingQemu } from "../../support/qemu";

/** Where the probe's own files go, and must not stay. */
function useFolder(t: TestContext): string {
  const [folder, before] = [makeFolder(t), process.env["TMPDIR"]];
  process.env["TMPDIR"] = folder;
  t.after(() => {
    if (before === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = before;
  });
  return folder;
}

test("what runs as a boot loader does, and what cannot start", { skip: missingQemu() }, async (t) => {
  const folder = useFolder(t);
  const binary = "qemu-system-x86_64";
  assert.equal(await probeAccelerator(binary, "tcg", "max"), true);
  assert.equal(await probeAccelerator(binary, "tcg", "no such processor"), false);
  assert.equal(await probeAccelerator("/no/such/qemu", "tcg", "max"), false);
  assert.deepEqual(fs.readdirSync(folder), []);
});

test("what says something else, or starts and never comes to an end", async (t) => {
  const folder = useFolder(t);
  const binary = path.join(folder, "qemu");
  for (const words of ["SeaBIOS", ""]) {
    fs.writeFileSync(binary, `#!/bin/sh\nprintf '%s' '${words}'\nexec sleep 60\n`, { mode: 0o755 });
    assert.equal(await probeAccelerator(binary, "tcg", "max"), false);
  }
  assert.deepEqual(fs.readdirSync(folder), ["qemu"]);
});
