import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import {
  bootImage,
  createQemuStack,
  listImages,
  listProcesses,
  missingQemu,
  startFromDisk,
} from "../support/qemu";
import type { Stack } from "../support/stack";

const project = `qemu-${process.pid}`;

function declare(last: string, more: object = {}): { images: Record<string, Record<string, unknown>> } {
  return {
    images: {
      web: {
        ...startFromDisk(),
        provisioners: [
          { type: "file", source: "app/", destination: "/tmp/app" },
          {
            type: "shell",
            inline: ["sudo cp -R /tmp/app /srv/app", "cat /proc/uptime > /tmp/uptime"],
            cache: true,
          },
          { type: "shell", inline: [`echo ${last} | sudo tee /srv/last`], cache: true },
        ],
        shutdownCommand: "sudo shutdown -P now",
        ...more,
      },
    },
  };
}

async function describeImage(stack: Stack): Promise<{ path: string; format: string; sha256: string }> {
  const outputs = await stack.outputs();
  const read = (name: string): string => String(outputs[`web-${name}`]);
  assert.equal(read("absolutePath"), path.join(stack.folder, read("path")));
  return { path: read("absolutePath"), format: read("format"), sha256: read("sha256") };
}

function assertStandsAlone(file: string): void {
  const info = JSON.parse(execFileSync("qemu-img", ["info", "--output=json", file]).toString()) as Record<
    string,
    unknown
  >;
  assert.equal(info["format"], "qcow2");
  assert.equal(info["backing-filename"], undefined);
  execFileSync("qemu-img", ["check", "-q", file]);
}

test(
  "an image: built, booted, edited, taken back, destroyed",
  { skip: missingQemu("KILN_QEMU_DISK") },
  async (t) => {
    const bootTest = { commands: ["grep one /srv/last", "test -f /srv/app/main.txt"] };
    const stack = await createQemuStack(t, project, declare("one", { bootTest }).images);
    stack.write("app/main.txt", "main\n");

    const cold = await stack.up();
    assert.doesNotMatch(cold.text, /reused/);
    const first = await describeImage(stack);
    assert.match(path.relative(stack.folder, first.path), /^images\/web-[0-9a-f]{12}\.qcow2$/);
    assert.deepEqual(listImages(stack), [path.basename(first.path)]);
    assert.equal(first.sha256, hash(first.path));
    assertStandsAlone(first.path);
    assert.deepEqual(listProcesses(stack), []);
    assert.match(await stack.preview("--expect-no-changes"), /unchanged/);

    await t.test("booted twice it is two machines, and nobody gets in by the build's key", async (t) => {
      const describe = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub";
      const [one, two] = await Promise.all([bootImage(t, first), bootImage(t, first)]);
      assert.ok(one && two);
      const identities = await Promise.all([one.run(describe), two.run(describe)]);
      assert.match(identities[0], /^[0-9a-f]{32}\nssh-ed25519 /);
      const [ours, theirs] = identities.map((text) => text.split("\n"));
      assert.notEqual(ours?.[0], theirs?.[0], "machine-id");
      assert.notEqual(ours?.[1], theirs?.[1], "host key");
      assert.equal(await one.run("cat /srv/app/main.txt /srv/last"), "main\none\n");
      const keys = "sudo sh -c 'cat /root/.ssh/* /home/*/.ssh/* 2>/dev/null'";
      assert.doesNotMatch(await one.run(`${keys} || true`), / kiln-/);
      await Promise.all([one.stop(), two.stop()]);
      assert.equal(first.sha256, hash(first.path));
    });

    await t.test("after an edit of the last step only that runs, in the machine as it was", async (t) => {
      stack.declare(declare("two"));
      assert.match(await stack.preview(), /rebuild: ~?provisioners/);
      const { text } = await stack.up();
      assert.match(text, /2 steps reused; step 3 runs: inline changed/);
      const second = await describeImage(stack);
      assert.notEqual(second.path, first.path);
      assert.deepEqual(
        listImages(stack),
        [first.path, second.path].map((file) => path.basename(file)).sort(),
      );
      assertStandsAlone(second.path);
      const machine = await bootImage(t, second);
      assert.equal(await machine.run("cat /srv/last"), "two\n");
      await machine.stop();
    });

    await t.test("the old image was kept: taking the edit back builds nothing", async () => {
      stack.declare(declare("one"));
      const { text } = await stack.up();
      assert.match(text, /has this fingerprint; nothing to build/);
      assert.equal((await describeImage(stack)).path, first.path);
    });

    await stack.destroy();
    assert.deepEqual(listImages(stack), []);
    assert.deepEqual(listProcesses(stack), []);
    assert.deepEqual(listLarge(stack), []);
  },
);

function hash(file: string): string {
  return execFileSync("sha256sum", [file]).toString().slice(0, 64);
}

/** Files of more than a mebibyte that are left in the folders of the package: disks, memories. */
function listLarge(stack: Stack): string[] {
  const names = fs.readdirSync(stack.home, { recursive: true }) as string[];
  return names.filter((name) => fs.statSync(path.join(stack.home, name)).size > 2 ** 20);
}
