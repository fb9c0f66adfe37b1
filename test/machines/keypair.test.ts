import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { utils } from "ssh2";
import { createKeyPair } from "../../src/machines/keypair";
import { hasSshd } from "../support/sshd";
import { makeFolder } from "../support/context";

test("a key pair is an ed25519 one whose public line ends in the comment, and each is another", async () => {
  const [first, second] = [await createKeyPair("kiln-b1"), await createKeyPair("kiln-b1")];
  assert.match(first.publicKey, /^ssh-ed25519 \S+ kiln-b1$/);
  assert.match(first.privateKey, /^-----BEGIN OPENSSH PRIVATE KEY-----/);
  assert.notEqual(first.publicKey, second.publicKey);
  const parsed = utils.parseKey(first.privateKey);
  assert.ok(!(parsed instanceof Error));
});

test("each of many can be read, although the library makes some that cannot", async () => {
  const many = await Promise.all(Array.from({ length: 1500 }, () => createKeyPair("c")));
  for (const { publicKey, privateKey } of many) {
    assert.ok(!(utils.parseKey(publicKey) instanceof Error), publicKey);
    assert.ok(!(utils.parseKey(privateKey) instanceof Error), publicKey);
  }
});

test(
  "OpenSSH reads keys of each kind, and finds the same public key in them",
  { skip: !hasSshd() },
  async (t) => {
    const folder = makeFolder(t);
    for (const options of [
      {},
      { type: "ecdsa" },
      { type: "ecdsa", bits: 256 },
      { type: "rsa", bits: 2048 },
    ] as const) {
      const pair = await createKeyPair("c", options);
      const file = path.join(folder, `key-${JSON.stringify(options).length}`);
      fs.writeFileSync(file, pair.privateKey, { mode: 0o600 });
      const found = execFileSync("ssh-keygen", ["-y", "-f", file], { encoding: "utf8" });
      assert.deepEqual(found.trim().split(" ").slice(0, 2), pair.publicKey.split(" ").slice(0, 2));
    }
  },
);

test("a size that there is not is refused with its value", async () => {
  await assert.rejects(
    createKeyPair("c", { type: "ecdsa", bits: 300 }),
    /Making a key pair \(ecdsa, 300 bits\)/,
  );
});
