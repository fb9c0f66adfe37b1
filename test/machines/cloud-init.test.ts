import assert from "node:assert/strict";
import { test } from "node:test";
import { makeSeed, type SeedOptions } from "../../src/machines/cloud-init";

const KEY = "ssh-ed25519 AAAA kiln-b1";

function seed(options: Partial<SeedOptions> = {}): Record<string, string> {
  const files = makeSeed({ instanceId: "i-1", user: "debian", publicKey: KEY, ...options });
  return Object.fromEntries(
    files.map((file) => [file.name, "content" in file ? file.content.toString() : "a local file"]),
  );
}

function config(text: string | undefined): unknown {
  const [head, ...rest] = (text ?? "").split("\n");
  assert.equal(head, "#cloud-config");
  return JSON.parse(rest.join("\n"));
}

test("the key comes in by the metadata, the user by the vendor data, and the user data stays as it was", () => {
  const files = seed({ userData: "#!/bin/sh\necho 'x'\n", hostname: "web" });
  assert.equal(files["user-data"], "#!/bin/sh\necho 'x'\n");
  assert.deepEqual(JSON.parse(files["meta-data"] ?? ""), {
    "instance-id": "i-1",
    "local-hostname": "web",
    "public-keys": [KEY],
  });
  assert.deepEqual(config(files["vendor-data"]), {
    users: [
      "default",
      {
        name: "debian",
        shell: "/bin/sh",
        sudo: "ALL=(ALL) NOPASSWD:ALL",
        lock_passwd: true,
        ssh_authorized_keys: [KEY],
      },
    ],
  });
  assert.equal(files["network-config"], undefined);
});

test("without user data there is an empty one, since cloud-init wants the file", () => {
  assert.deepEqual(config(seed()["user-data"]), {});
});

test("root may log in, and is not made", () => {
  assert.deepEqual(config(seed({ user: "root" })["vendor-data"]), { disable_root: false });
});

test("the user's metadata counts more, and its keys stay, in each form", () => {
  const given = { "instance-id": "mine", "local-hostname": "mine", extra: { a: 1 } };
  for (const keys of ["ssh-rsa B", ["ssh-rsa B"], { first: "ssh-rsa B" }, { first: ["ssh-rsa B"] }]) {
    const files = seed({ hostname: "web", metaData: { ...given, "public-keys": keys } });
    assert.deepEqual(JSON.parse(files["meta-data"] ?? ""), { ...given, "public-keys": ["ssh-rsa B", KEY] });
  }
});

test("without a key none is named", () => {
  const files = seed({ publicKey: undefined });
  assert.doesNotMatch(JSON.stringify(files), /keys/);
});

test("the network configuration is a text or an object", () => {
  assert.equal(seed({ networkConfig: "version: 2\n" })["network-config"], "version: 2\n");
  assert.equal(seed({ networkConfig: { version: 2 } })["network-config"], '{"version":2}\n');
});

test("nothing in it is what YAML reads otherwise than JSON", () => {
  const text = seed({ metaData: { odd: "\u0085\u2028\ufeff\u007f'\":#- \u{1f600}é" } })["meta-data"] ?? "";
  assert.doesNotMatch(text, /[\u007f-\u009f\u2028\ufeff]/);
  assert.equal((JSON.parse(text) as { odd: string }).odd, "\u0085\u2028\ufeff\u007f'\":#- \u{1f600}é");
});
