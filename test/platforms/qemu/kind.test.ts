import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import type { QemuImageOptions } from "../../../src/platforms/qemu/options";
import { findKind } from "../../../src/platforms/qemu/kind";
import { inContext } from "../../support/context";
import { FakeQemuDriver } from "./fake-driver";

const options: QemuImageOptions = { isoUrl: "disk.qcow2", diskImage: true, sshUsername: "debian" };

test("one's own firmware is looked for from the program's folder, wherever a machine runs", async (t) => {
  await inContext(t, async (context) => {
    const efi = { code: "code.fd", variables: "../variables.fd" };
    const { firmware } = await findKind(context, new FakeQemuDriver(), { ...options, efi });
    assert.deepEqual(firmware, {
      code: path.join(context.cwd, "code.fd"),
      variables: path.join(context.cwd, "..", "variables.fd"),
    });
  });
});

test("without `efi` a machine boots by BIOS", async (t) => {
  await inContext(t, async (context) => {
    const kind = await findKind(context, new FakeQemuDriver(), options);
    assert.equal(kind.firmware, undefined);
  });
});
