import assert from "node:assert/strict";
import fc from "fast-check";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, test } from "node:test";
import { formatTarHeader, padTar, TAR_END } from "../../src/communicators/transfer/tar-writer";
import { makeFolder } from "../support/context";
import { startFakeSshd } from "../support/fake-sshd";
import { connectTo, hasSshd, never, startSshd } from "../support/sshd";
import { describeTree, makeLargeFile, tree, writeTree } from "./random-tree";

describe("downloading from a real sshd", { skip: !hasSshd() }, () => {
  test("random trees arrive equal, in an empty folder and over themselves", async (t) => {
    const sshd = await startSshd();
    t.after(() => sshd.stop());
    const machine = await connectTo(t, sshd);
    const folder = makeFolder(t);
    let run = 0;
    await fc.assert(
      fc.asyncProperty(tree, async (content) => {
        const [from, to] = [`${folder}/from/${++run}`, `${folder}/to/${run}`];
        writeTree(from, content);
        fs.mkdirSync(to, { recursive: true });
        for (let again = 0; again < 2; again++) {
          await machine.download(`${from}/`, to, { folder: true, signal: never });
          assert.deepEqual(describeTree(to), describeTree(from));
        }
      }),
      { numRuns: 50 },
    );
  });

  test("names that are no text, hard links, a large file, a link to a file", async (t) => {
    const sshd = await startSshd();
    t.after(() => sshd.stop());
    const machine = await connectTo(t, sshd);
    const folder = makeFolder(t);
    const [from, to] = [`${folder}/from`, `${folder}/to`];
    fs.mkdirSync(from);
    fs.mkdirSync(to);
    fs.writeFileSync(Buffer.concat([Buffer.from(`${from}/`), Buffer.from([0xff, 0x0a, 0x61])]), "odd");
    fs.linkSync(makeLargeFile(from, "large", 5), `${from}/same`);
    fs.symlinkSync("large", `${from}/link`);
    await machine.download(`${from}/`, to, { folder: true, signal: never });
    assert.deepEqual(describeTree(to), describeTree(from));
    await machine.download(`${from}/link`, `${folder}/copy`, { folder: false, signal: never });
    assert.ok(fs.readFileSync(`${folder}/copy`).equals(fs.readFileSync(`${from}/large`)));
  });

  test("what is not there, or is a folder, or cannot be read, is an error that says so and leaves nothing", async (t) => {
    const sshd = await startSshd();
    t.after(() => sshd.stop());
    const machine = await connectTo(t, sshd);
    const folder = makeFolder(t);
    const fetch = (remote: string, isFolder: boolean): Promise<void> =>
      machine.download(remote, path.join(folder, "to"), { folder: isFolder, signal: never });
    await assert.rejects(fetch("/no/such", false), /Fetching \/no\/such from .*: there is no such file/);
    await assert.rejects(fetch("/etc", false), /it is a folder\. Let the source end in \//);
    fs.mkdirSync(path.join(folder, "to"));
    await assert.rejects(fetch("/no/such/", true), /there is no such folder/);
    assert.deepEqual(fs.readdirSync(path.join(folder, "to")), []);
  });
});

test(
  "a machine without a shell: everything goes by SFTP, and is read back",
  { skip: !hasSshd() },
  async (t) => {
    const sshd = await startSshd(["ForceCommand internal-sftp"]);
    t.after(() => sshd.stop());
    const machine = await connectTo(t, sshd);
    const folder = makeFolder(t);
    let run = 0;
    await fc.assert(
      fc.asyncProperty(tree, async (content) => {
        const [from, there, back] = [
          `${folder}/from/${++run}`,
          `${folder}/there/${run}/deep`,
          `${folder}/back/${run}`,
        ];
        writeTree(from, content);
        for (let again = 0; again < 2; again++) {
          await machine.upload({ path: `${from}/` }, `${there}/`, never);
          assert.deepEqual(describeTree(there), describeTree(from));
        }
        fs.mkdirSync(back, { recursive: true });
        await machine.download(`${there}/`, back, { folder: true, signal: never });
        assert.deepEqual(describeTree(back), describeTree(from));
      }),
      { numRuns: 20 },
    );
    const large = makeLargeFile(folder, "large", 20);
    await machine.upload({ path: large }, `${folder}/there/large`, never);
    assert.ok(fs.readFileSync(`${folder}/there/large`).equals(fs.readFileSync(large)));
    await machine.upload({ content: Buffer.from("new"), mode: 0o600 }, `${folder}/there/large`, never);
    assert.equal(fs.readFileSync(`${folder}/there/large`, "utf8"), "new");
    await assert.rejects(
      machine.upload({ content: Buffer.from("new"), mode: 0o600 }, `${folder}/there`, never),
      /it is a folder/,
    );
  },
);

test("an archive that leads outside is refused", async (t) => {
  const folder = makeFolder(t);
  const bin = path.join(folder, "bin");
  fs.mkdirSync(bin);
  const archive = path.join(folder, "evil.tar");
  const header = formatTarHeader({ name: "./../evil", kind: "file", mode: 0o644, mtimeMs: 0, sizeBytes: 1 });
  fs.writeFileSync(archive, Buffer.concat([header, Buffer.from("x"), padTar(1), TAR_END]));
  fs.writeFileSync(path.join(bin, "tar"), `#!/bin/sh\ncat ${archive}\n`, { mode: 0o755 });
  const sshd = await startFakeSshd(t, { environment: { PATH: `${bin}:${process.env["PATH"]}` } });
  const machine = await connectTo(t, sshd, { sshPassword: "right" });
  fs.mkdirSync(`${folder}/to`);
  await assert.rejects(
    machine.download(`${bin}/`, `${folder}/to`, { folder: true, signal: never }),
    /leads outside/,
  );
  assert.ok(!fs.existsSync(`${folder}/evil`));
});
