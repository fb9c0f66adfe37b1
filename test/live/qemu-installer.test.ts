import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as path from "node:path";
import { test } from "node:test";
import {
  createQemuStack,
  listImages,
  listProcesses,
  missingQemu,
  startFromDisk,
  startFromInstaller,
} from "../support/qemu";

const project = `qemu-installer-${process.pid}`;

function declare(line: string): { images: Record<string, Record<string, unknown>> } {
  const provisioners = [{ type: "shell", inline: [line] }];
  return { images: { web: { ...startFromInstaller(), provisioners } } };
}

test(
  "an installer: typed to, given its answers by HTTP, rebooted; another step installs nothing again",
  { skip: missingQemu("KILN_QEMU_INSTALLER") },
  async (t) => {
    const stack = await createQemuStack(t, project, declare("echo one > /tmp/one").images);
    const cold = await stack.up();
    assert.match(cold.text, /: boot/);
    stack.declare(declare("echo two > /tmp/two"));
    const { text } = await stack.up();
    assert.match(text, /the machine was saved as it starts: it goes on from there/);
    assert.match(text, /: resume/);
    assert.doesNotMatch(text, /: boot\b/);
    await stack.destroy();
    assert.deepEqual([listImages(stack), listProcesses(stack)], [[], []]);
  },
);

test(
  "a machine that does not come up: the error has its console's last screen, and nothing is left",
  { skip: missingQemu("KILN_QEMU_DISK") },
  async (t) => {
    const stack = await createQemuStack(t, `${project}-empty`, {});
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", path.join(stack.folder, "empty.qcow2"), "64M"]);
    // JSON leaves out what is undefined.
    const source = { ...startFromDisk(), isoUrl: "empty.qcow2", isoChecksum: undefined };
    stack.declare({ images: { web: { ...source, sshTimeout: "20s" } } });
    assert.match(await stack.failingUp(), /The last screen of its console:[\s\S]*No bootable device/);
    assert.deepEqual([listImages(stack), listProcesses(stack)], [[], []]);
  },
);
