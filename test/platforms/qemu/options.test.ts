import assert from "node:assert/strict";
import { test } from "node:test";
import { containsUnknown, UNKNOWN, validate } from "../../../src/core/schema";
import { isBinarySize, parseBinarySize } from "../../../src/platforms/qemu/binary-size";
import { fillUserData } from "../../../src/platforms/qemu/machine-media";
import { qemuImageSchema, type QemuImageOptions } from "../../../src/platforms/qemu/options";
import { platform } from "../../../src/platforms/qemu/platform";

const PLAIN: QemuImageOptions = { isoUrl: "debian.qcow2", diskImage: true, sshUsername: "debian" };

test("all problems are told at once, each with its place", () => {
  const problems = validate(qemuImageSchema, {
    isoUrl: "https://example.org/a.iso",
    memroy: "1GiB",
    diskSize: "big",
    bootCommand: ["<enter>", "a€"],
    thin: true,
    format: "vdi",
    bootTest: { commands: ["true"] },
    cloudInit: { secrets: ["TOKEN"] },
  });
  const text = problems.map(({ path, reason }) => `${path}: ${reason}`).join("\n");
  for (const expected of [
    /^memroy: unknown option; did you mean `memory`\?/m,
    /^diskSize: expected a size/m,
    /^bootCommand\[1\]: at character 2: /m,
    /^sshUsername: missing/m,
  ])
    assert.match(text, expected);
});

test("options that do not go together are told", () => {
  const wrong = { ...PLAIN, isoUrl: "https://example.org/a.qcow2", thin: true, format: "vdi" };
  const more = { bootTest: { commands: ["true"] }, cloudInit: undefined };
  const places = validate(qemuImageSchema, { ...wrong, ...more }).map(({ path }) => path);
  assert.deepEqual(places.sort(), ["bootTest", "isoUrl", "thin"]);
  assert.deepEqual(validate(qemuImageSchema, { ...PLAIN, cloudInit: {}, bootTest: more.bootTest }), []);
  const [secret] = validate(qemuImageSchema, { ...PLAIN, cloudInit: { secrets: ["TOKEN"] } });
  assert.match(secret?.reason ?? "", /its secret "TOKEN" is not in `secrets`/);
});

test("the identity is what is made, not where it comes from or how it runs", () => {
  const checksum = `sha256:${"ab".repeat(32)}`;
  const identify = (more: Partial<QemuImageOptions>): string =>
    JSON.stringify(platform.identify({ ...PLAIN, isoChecksum: checksum, ...more }));
  const plain = identify({});
  for (const same of [
    { isoUrl: "https://mirror.example.org/debian.qcow2" },
    { isoChecksum: "ab".repeat(32) },
    { memory: "8GiB", cpus: 8, cpuModel: "host", accelerator: "kvm" as const, headless: false },
    { sshPort: 2222, sshTimeout: "1h", sshPassword: "x", bootWait: "1m", shutdownTimeout: "1m" },
    { bootTest: { commands: ["true"] } },
    { outputDirectory: "elsewhere", keep: 3, cache: false, httpPortMin: 1 },
  ])
    assert.equal(identify(same), plain, JSON.stringify(same));
  for (const other of [
    { isoChecksum: `sha256:${"cd".repeat(32)}` },
    { diskSize: "9GiB" },
    { format: "raw" as const },
    { bootCommand: ["<enter>"] },
    { cloudInit: { userData: "#cloud-config" } },
    { httpContent: { "/a": "b" } },
    { cdContent: { a: "b" } },
    { machineType: "q35" },
    { efi: true },
    { sshUsername: "root" },
    { shutdownCommand: "sudo rm -rf /var/cache/apt; sudo poweroff" },
  ])
    assert.notEqual(identify(other), plain, JSON.stringify(other));
});

test("a local file without a checksum counts by its content, a list of checksums by what it names", () => {
  assert.deepEqual(platform.listSources?.(PLAIN), [{ path: "debian.qcow2" }]);
  assert.deepEqual(platform.listSources?.({ ...PLAIN, isoChecksum: "file:SHA256SUMS" }), []);
  assert.equal(
    platform.describeBase?.({ ...PLAIN, isoChecksum: "file:https://example.org/S" })?.host,
    "example.org",
  );
  assert.equal(platform.describeBase?.(PLAIN), undefined);
});

test("sizes are binary, however they are written", () => {
  for (const [text, bytes] of [
    ["1GiB", 2 ** 30],
    ["1G", 2 ** 30],
    ["1GB", 2 ** 30],
    ["512m", 2 ** 29],
    ["40960", 40960 * 2 ** 20],
    ["1.5 GiB", 1.5 * 2 ** 30],
    ["100B", 100],
  ] as const)
    // prettier-ignore
    assert.equal(parseBinarySize(text), bytes, text);
  for (const text of ["", "G", "1X", "-1G", "1GiBs"]) assert.ok(!isBinarySize(text), text);
});

test("only the secrets that are named are filled in", () => {
  const secrets = { A: "1", B: "2" };
  assert.equal(fillUserData("{{ .Secrets.A }} {{.Secrets.B}}", ["A"], secrets), "1 {{.Secrets.B}}");
});

test("what the machine is given counts by its names and its purpose too", () => {
  const identify = (more: Partial<QemuImageOptions>): string =>
    JSON.stringify(platform.identify({ ...PLAIN, ...more }));
  const different = [
    { cdFiles: ["seed"] },
    { cdFiles: ["seed/"] },
    { cdFiles: ["seed/*.cfg"] },
    { cdFiles: ["other"] },
    { floppyFiles: ["seed"] },
    { httpDirectory: "seed" },
    { qemuArguments: [["-smbios", "type=1"]] },
    { efi: true },
    { efi: { code: "code.fd", variables: "variables.fd" } },
  ].map(identify);
  assert.equal(new Set(different).size, different.length);
  assert.equal(identify({ cdFiles: ["here/seed"] }), identify({ cdFiles: ["there/seed"] }));
});

test("what is not known yet makes the fingerprint unknown, and throws nowhere", () => {
  const unknown = UNKNOWN as never;
  for (const more of [
    { cdFiles: unknown },
    { cdFiles: [unknown] },
    { floppyFiles: unknown },
    { httpDirectory: unknown },
    { isoUrl: unknown },
    { efi: unknown },
    { isoUrl: unknown, isoChecksum: "none" },
    { isoChecksum: unknown },
    { cloudInit: { secrets: [unknown] } },
    { bootCommand: unknown },
  ] as Partial<QemuImageOptions>[]) {
    const options = { ...PLAIN, ...more };
    assert.deepEqual(validate(qemuImageSchema, options), [], JSON.stringify(more));
    const all = [platform.identify(options), platform.listSources?.(options)];
    assert.ok(containsUnknown(all), JSON.stringify(more));
  }
});

test("no output has the name of an option: it would be taken out of the options", () => {
  for (const name of platform.outputNames)
    assert.notDeepEqual(
      validate(qemuImageSchema, { ...PLAIN, [name]: "x" }),
      [],
      `${name} is an option and an output`,
    );
});
