import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, describe, test } from "node:test";
import { planUpload } from "../../src/communicators/transfer/plan";
import { sha256Hex } from "../../src/core/content-hash";
import { cacheFolder } from "../../src/core/folders";
import { endThreads, runJobInThreads } from "../../src/core/source-threads";
import { makeFolder } from "../support/context";
import { connectTo, hasSshd, never, startSshd } from "../support/sshd";
import { makeLargeFile } from "./random-tree";

/** As a fingerprint does it, some seconds after the source was written. */
async function fingerprint(source: string): Promise<void> {
  const root = fs.realpathSync(source);
  const startedMs = Date.now() + 60_000;
  await runJobInThreads({ root, ignore: [], cacheDir: cacheFolder(), startedMs, list: false });
}

describe("hashes that a fingerprint found out", () => {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-plan-"));
  const before = process.env["PULUMI_KILN_HOME"];
  process.env["PULUMI_KILN_HOME"] = home;
  after(() => {
    endThreads();
    if (before === undefined) delete process.env["PULUMI_KILN_HOME"];
    else process.env["PULUMI_KILN_HOME"] = before;
    fs.rmSync(home, { recursive: true });
  });

  test("are known to an upload, but for files that have changed since", async (t) => {
    const folder = makeFolder(t);
    for (const name of ["a", "b", "c"]) fs.writeFileSync(path.join(folder, name), name);
    await fingerprint(folder);
    fs.writeFileSync(path.join(folder, "b"), "B");
    fs.writeFileSync(path.join(folder, "d"), "d");
    const { files } = await planUpload({ path: folder }, "/", never);
    assert.deepEqual(
      files.map(({ name, hash }) => [name, hash]),
      [
        ["./a", sha256Hex(Buffer.from("a"))],
        ["./b", ""],
        ["./c", sha256Hex(Buffer.from("c"))],
        ["./d", ""],
      ],
    );
    const { files: others } = await planUpload({ path: folder, ignore: ["b"] }, "/", never);
    assert.deepEqual(
      others.map(({ hash }) => hash),
      ["", "", ""],
      "another list of the same folder",
    );
  });

  test(
    "a file that changes while it is sent is not taken for what was hashed",
    { skip: !hasSshd() },
    async (t) => {
      const folder = makeFolder(t);
      const large = makeLargeFile(folder, "large", 80);
      await fingerprint(large);
      const sshd = await startSshd();
      t.after(() => sshd.stop());
      let isChanged = false;
      const change = (text: string): void => {
        if (isChanged || !text.includes(" of ")) return;
        isChanged = true;
        const file = fs.openSync(large, "r+");
        fs.writeSync(file, "changed", 79 * 1024 * 1024);
        fs.closeSync(file);
      };
      const machine = await connectTo(t, sshd, {}, { progress: change });
      await assert.rejects(
        machine.upload({ path: large }, `${folder}/there/large`, never),
        /large changed while it was read/,
      );
      assert.ok(isChanged);
      assert.deepEqual(fs.readdirSync(`${folder}/there`), []);
    },
  );
});
