import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import type { Claim } from "../../../src/core/claims";
import { identifyProcess } from "../../../src/core/journal";
import { Ledger } from "../../../src/platforms/qemu/ledger";
import type { QemuDriver } from "../../../src/platforms/qemu/driver";
import { QemuSite } from "../../../src/platforms/qemu/site";
import { StageStore } from "../../../src/platforms/qemu/stage-store";
import { inContext, makeFolder } from "../../support/context";

const never = new AbortController().signal;
const HASH = "a".repeat(64);
const driver = {
  inspectDisk: () => Promise.resolve({ virtualSizeBytes: 1 }),
} as unknown as QemuDriver;

let folder = "";
let before: string | undefined;
beforeEach((t) => {
  folder = makeFolder(t as never);
  before = process.env["PULUMI_KILN_HOME"];
  process.env["PULUMI_KILN_HOME"] = path.join(folder, "home");
});
afterEach(() => {
  if (before === undefined) delete process.env["PULUMI_KILN_HOME"];
  else process.env["PULUMI_KILN_HOME"] = before;
});

function makeClaim(stack: string, id: string, state: Claim["state"], artifactId: string): Claim {
  return {
    owner: `shop/${stack}/0123456789abcdef`,
    fingerprint: `k1:${HASH}`,
    id: `${id}-abcd`,
    state,
    artifactId,
  };
}

/** An image as a build leaves it: its file, and the claim on it. */
function makeImage(name: string, claim: Claim, standsOn?: string): string {
  const file = path.join(folder, "images", name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, name);
  new Ledger().put(claim, { artifactId: claim.artifactId, files: [file], standsOn });
  return file;
}

test("a file goes with the last claim on it, and its folder when that is empty", async () => {
  const site = new QemuSite(driver);
  const dev = makeClaim("dev", "1", "live", "sha256:1");
  const prod = makeClaim("prod", "2", "live", "sha256:1");
  const file = makeImage("web.qcow2", dev);
  await site.findArtifact("sha256:1", { isoUrl: "x", sshUsername: "x" }, never);
  await site.putClaim(prod, never);
  assert.equal(await site.dropClaim(dev, never), undefined);
  assert.ok(fs.existsSync(file));
  assert.equal(await site.dropClaim(prod, never), undefined);
  assert.ok(!fs.existsSync(path.dirname(file)));
  assert.deepEqual(await site.listClaims(), []);
  assert.equal(await site.dropClaim(prod, never), undefined);
});

test("what another image stands on stays, marked, and is collected when that has gone", async () => {
  const site = new QemuSite(driver);
  const base = makeClaim("dev", "1", "live", "sha256:1");
  const thin = makeClaim("dev", "2", "live", "sha256:2");
  const file = makeImage("base.qcow2", base);
  makeImage("thin.qcow2", thin, file);
  assert.match((await site.dropClaim(base, never)) ?? "", /thin\.qcow2, which stands on it/);
  assert.deepEqual((await site.listClaims()).map(({ state }) => state).sort(), ["gone", "live"]);
  await site.collect(never);
  assert.ok(fs.existsSync(file));
  await site.dropClaim(thin, never);
  await site.collect(never);
  assert.ok(!fs.existsSync(file));
  assert.deepEqual(await site.listClaims(), []);
});

test("by whatever path another image or a saved machine stands on it, it stays", async () => {
  const site = new QemuSite(driver);
  const base = makeClaim("dev", "1", "live", "sha256:1");
  const thin = makeClaim("dev", "2", "live", "sha256:2");
  const file = makeImage("base.qcow2", base);
  fs.symlinkSync("images", path.join(folder, "linked"));
  const sameFile = path.join(folder, "linked", "base.qcow2");
  makeImage("thin.qcow2", thin, sameFile);
  assert.match((await site.dropClaim(base, never)) ?? "", /thin\.qcow2, which stands on it/);
  await site.dropClaim(thin, never);
  const store = new StageStore();
  store.create("b1-1", { source: { path: sameFile, format: "qcow2" } });
  store.mark("k".repeat(32), "0123456789abcdef", "1-abcd", "b1-1");
  await site.collect(never);
  assert.ok(fs.existsSync(file), "a saved machine stands on it");
});

test("what a saved machine stands on, or a process has open, stays", async () => {
  const site = new QemuSite(driver);
  const claim = makeClaim("dev", "1", "live", "sha256:1");
  const file = makeImage("web.qcow2", claim);
  const store = new StageStore();
  store.create("b1-1", { source: { path: file, format: "qcow2" } });
  store.mark("k".repeat(32), "0123456789abcdef", "1-abcd", "b1-1");
  assert.match((await site.dropClaim(claim, never)) ?? "", /saved machine/);
  store.dropMark({ key: "k".repeat(32), owner: "0123456789abcdef", id: "1-abcd" });
  store.collect(["b1-1"]);
  const reader = spawn("sleep", ["600"], { stdio: [fs.openSync(file, "r"), "ignore", "ignore"] });
  await site.collect(never);
  assert.ok(fs.existsSync(file), "a process has it open");
  reader.kill("SIGKILL");
  await once(reader, "exit");
  await site.collect(never);
  assert.ok(!fs.existsSync(file));
});

test("an adopted file is never removed", async (t) => {
  const site = new QemuSite(driver);
  const foreign = path.join(folder, "foreign.qcow2");
  fs.writeFileSync(foreign, "there before");
  const options = { isoUrl: "x", sshUsername: "x" };
  await inContext(
    t,
    async (context) => {
      const artifact = await site.takeOver("foreign.qcow2", options, context);
      const claim = makeClaim("dev", "1", "live", artifact.id);
      await site.putClaim(claim, never);
      await site.dropClaim(claim, never);
    },
    { cwd: folder },
  );
  assert.ok(fs.existsSync(foreign));
  assert.deepEqual(await site.listClaims(), []);
});

test("a claim on what is not there is refused", async () => {
  const claim = makeClaim("dev", "1", "live", "sha256:1");
  const file = makeImage("web.qcow2", claim);
  fs.rmSync(file);
  await assert.rejects(
    new QemuSite(driver).putClaim({ ...claim, id: "2-abcd" }, never),
    /does not exist any more/,
  );
  await assert.rejects(
    new QemuSite(driver).putClaim(makeClaim("dev", "3", "live", "sha256:3"), never),
    /nobody knows where it is/,
  );
});

test("saved machines stay as long as a mark leads to them, with all that they stand on", () => {
  const store = new StageStore();
  const make = (id: string, below?: string): void => {
    store.create(id, { below });
    fs.writeFileSync(store.diskOf(id).path, id);
    fs.writeFileSync(store.fileOf(id, "memory"), id);
    store.seal(id, { hostKey: "" });
  };
  make("b-1");
  make("b-2", "b-1");
  make("b-3", "b-2");
  store.mark("one", "0123456789abcdef", "1-abcd", "b-2");
  store.collect();
  assert.ok(store.isIntact("b-2") && !fs.existsSync(store.folderOf("b-3")));
  fs.appendFileSync(store.diskOf("b-1").path, "changed");
  assert.ok(!store.isIntact("b-2"), "a disk below has changed");
  store.dropMark({ key: "one", owner: "0123456789abcdef", id: "1-abcd" });
  store.collect();
  assert.ok(!fs.existsSync(store.folderOf("b-1")) && store.listMarks().length === 0);
});

test("what a living build makes stays, what a dead one left goes", () => {
  const store = new StageStore();
  store.create("alive", {});
  store.create("dead", { below: "alive" });
  const { machine } = identifyProcess();
  store.write("dead", { builder: { machine, pid: 2 ** 22 - 1, startedAt: "then" } });
  store.collect();
  assert.ok(fs.existsSync(store.folderOf("alive")) && !fs.existsSync(store.folderOf("dead")));
  store.collect(["alive"]);
  assert.ok(!fs.existsSync(store.folderOf("alive")));
});
