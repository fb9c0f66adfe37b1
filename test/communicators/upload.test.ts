import assert from "node:assert/strict";
import fc from "fast-check";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, test, type TestContext } from "node:test";
import type { SshCommunicator } from "../../src/communicators/ssh";
import { makeFolder } from "../support/context";
import { connectTo, hasSshd, never, startSshd } from "../support/sshd";
import { describeTree, makeLargeFile, tree, writeTree } from "./random-tree";

async function begin(test: TestContext): Promise<{ machine: SshCommunicator; here: string; there: string }> {
  const sshd = await startSshd();
  test.after(() => sshd.stop());
  const folder = makeFolder(test);
  const [here, there] = [path.join(folder, "here"), path.join(folder, "there")];
  fs.mkdirSync(here);
  return { machine: await connectTo(test, sshd), here, there };
}

/** Nothing that was meant to be for a while is left. */
function requireClean(folder: string): void {
  const left = execFileSync("find", [folder, "-name", ".kiln-*"], { encoding: "utf8" });
  assert.equal(left, "");
}

describe("uploading to a real sshd", { skip: !hasSshd() }, () => {
  test("random trees arrive equal, in a new folder and again in the one that is there", async (t) => {
    const { machine, here, there } = await begin(t);
    let run = 0;
    await fc.assert(
      fc.asyncProperty(tree, async (content) => {
        const [from, to] = [`${here}/${++run}`, `${there}/${run}/to`];
        writeTree(from, content);
        if (run % 2)
          fs.writeFileSync(`${from}/large enough for the machine to be asked`, Buffer.alloc(300_000));
        await machine.upload({ path: `${from}/` }, `${to}/`, never);
        assert.deepEqual(describeTree(to), describeTree(from));
        await machine.upload({ path: `${from}/` }, `${to}/`, never);
        assert.deepEqual(describeTree(to), describeTree(from));
        requireClean(there);
      }),
      { numRuns: 60 },
    );
  });

  test("names that the machine's answer is cut within are not lost: what it lacks is sent", async (t) => {
    const { machine, here, there } = await begin(t);
    fs.mkdirSync(there);
    fs.writeFileSync(`${there}/is there`, "already");
    for (let index = 0; index < 1000; index++)
      fs.writeFileSync(`${here}/${"日本".repeat(10 + (index % 7))}${index}`, String(index));
    await machine.upload({ path: `${here}/` }, `${there}/`, never);
    fs.rmSync(`${there}/is there`);
    assert.deepEqual(describeTree(there), describeTree(here));
  });

  test("a second tree is merged into the first: others' files stay, changed ones are replaced, wrong kinds refused before anything moves", async (t) => {
    const { machine, here, there } = await begin(t);
    writeTree(`${here}/one`, {
      a: { content: Buffer.from("1"), mode: 0o644 },
      d: { tree: { x: { content: Buffer.from("x"), mode: 0o600 } } },
    });
    writeTree(there, {
      mine: { content: Buffer.from("m"), mode: 0o644 },
      a: { link: "/nowhere" },
      d: { tree: { y: { content: Buffer.from("y"), mode: 0o644 } } },
    });
    fs.chmodSync(`${there}/d`, 0o1777);
    await machine.upload({ path: `${here}/one/` }, `${there}/`, never);
    assert.deepEqual(
      describeTree(there).map((line) => line.split(" ").slice(0, 2).join(" ")),
      ["a 644", "d/ 1777", "d/x 600", "d/y 644", "mine 644"],
    );
    writeTree(`${here}/two`, {
      b: { content: Buffer.from("b"), mode: 0o644 },
      d: { content: Buffer.from("no folder"), mode: 0o644 },
    });
    const before = describeTree(there);
    await assert.rejects(
      machine.upload({ path: `${here}/two/` }, `${there}/`, never),
      /d is there, and a folder/,
    );
    assert.deepEqual(describeTree(there), before);
    writeTree(`${here}/three`, {
      b: { content: Buffer.from("b"), mode: 0o644 },
      a: { tree: { inner: { link: "x" } } },
    });
    await assert.rejects(
      machine.upload({ path: `${here}/three/` }, `${there}/`, never),
      /a is there, and no folder/,
    );
    assert.deepEqual(describeTree(there), before);
    requireClean(there);
  });

  test("a large folder with one changed file: only that is sent, and modes are made right", async (t) => {
    const { machine, here, there } = await begin(t);
    for (let index = 0; index < 600; index++) {
      fs.mkdirSync(`${here}/${index % 7}/sub`, { recursive: true });
      fs.writeFileSync(`${here}/${index % 7}/sub/${index} *.txt`, `content ${index}`, {
        mode: index % 3 ? 0o644 : 0o755,
      });
    }
    // As the machine's program would say it of another file.
    const reported = ["x: FAILED y", "x: OK", "y: FAILED open or read"];
    for (const name of reported) fs.writeFileSync(`${here}/${name}`, "before");
    await machine.upload({ path: `${here}/` }, `${there}/`, never);
    const inode = fs.statSync(`${there}/4/sub/4 *.txt`).ino;
    const other = fs.statSync(`${there}/2/sub/2 *.txt`).ino;
    fs.writeFileSync(`${here}/2/sub/2 *.txt`, "changed");
    for (const name of reported) fs.writeFileSync(`${here}/${name}`, "changed");
    fs.chmodSync(`${there}/1/sub/1 *.txt`, 0o600);
    fs.rmSync(`${there}/3/sub/3 *.txt`);
    fs.symlinkSync("10 *.txt", `${there}/3/sub/3 *.txt`);
    await machine.upload({ path: `${here}/` }, `${there}/`, never);
    assert.deepEqual(describeTree(there), describeTree(here));
    assert.equal(fs.statSync(`${there}/4/sub/4 *.txt`).ino, inode);
    assert.notEqual(fs.statSync(`${there}/2/sub/2 *.txt`).ino, other);
    requireClean(there);
  });

  test("two uploads at once into one folder, empty or not: both are there, one beside the other", async (t) => {
    const { machine, here, there } = await begin(t);
    for (const which of ["x", "y"]) {
      fs.mkdirSync(`${here}/${which}/shared/deep`, { recursive: true });
      fs.writeFileSync(`${here}/${which}/top-${which}`, which);
      for (let index = 0; index < 50; index++)
        fs.writeFileSync(`${here}/${which}/shared/deep/${which}${index}`, which);
    }
    for (let round = 0; round < 24; round++) {
      const to = `${there}/${round}`;
      fs.mkdirSync(to, { recursive: true });
      if (round % 2 === 1) fs.writeFileSync(`${to}/mine`, "");
      await Promise.all(
        ["x", "y"].map((which) => machine.upload({ path: `${here}/${which}/` }, `${to}/`, never)),
      );
      const names = fs.readdirSync(to).filter((name) => name !== "mine");
      assert.deepEqual(names.sort(), ["shared", "top-x", "top-y"]);
      assert.deepEqual(fs.readdirSync(`${to}/shared`), ["deep"], `round ${round}`);
      assert.equal(fs.readdirSync(`${to}/shared/deep`).length, 100);
    }
    requireClean(there);
  });

  test("files and texts: to a name, with missing folders, over what is there, never over a folder", async (t) => {
    const { machine, here, there } = await begin(t);
    const large = makeLargeFile(here, "large", 3);
    fs.chmodSync(large, 0o751);
    await machine.upload({ path: large }, `${there}/new/folders/it's\nhere`, never);
    assert.ok(fs.readFileSync(`${there}/new/folders/it's\nhere`).equals(fs.readFileSync(large)));
    assert.equal(fs.statSync(`${there}/new/folders/it's\nhere`).mode & 0o777, 0o751);
    await machine.upload({ content: Buffer.from("text"), mode: 0o600 }, `${there}/text`, never);
    await machine.upload({ content: Buffer.from("other"), mode: 0o640 }, `${there}/text`, never);
    assert.equal(fs.readFileSync(`${there}/text`, "utf8"), "other");
    assert.equal(fs.statSync(`${there}/text`).mode & 0o777, 0o640);
    const { ino } = fs.statSync(`${there}/new/folders/it's\nhere`);
    await machine.upload({ path: large }, `${there}/new/folders/it's\nhere`, never);
    assert.equal(fs.statSync(`${there}/new/folders/it's\nhere`).ino, ino, "it was there already");
    await assert.rejects(
      machine.upload({ content: Buffer.from("x"), mode: 0o600 }, `${there}/new`, never),
      /Sending a text to .*there\/new on 127\.0\.0\.1:\d+: it is a folder\. Let the destination end in \//,
    );
    await assert.rejects(
      machine.upload({ path: `${here}/` }, `${there}/text/`, never),
      /it is there, and no folder/,
    );
    requireClean(there);
  });

  test(
    "a full disk is named, leaves what was there, and leaves nothing behind",
    { skip: process.getuid?.() !== 0 && process.env["CI"] !== "true" },
    async (t) => {
      const { machine, here, there } = await begin(t);
      fs.mkdirSync(there);
      try {
        execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", there]);
      } catch (error) {
        if (process.env["CI"] === "true") throw error;
        return t.skip("this machine cannot mount a small disk");
      }
      try {
        fs.writeFileSync(`${there}/large`, "before");
        const large = makeLargeFile(here, "large", 5);
        await assert.rejects(
          machine.upload({ path: large }, `${there}/large`, never),
          /tar ended with \d, with 0 kB free there.*disk larger/s,
        );
        assert.equal(fs.readFileSync(`${there}/large`, "utf8"), "before");
        requireClean(there);
      } finally {
        execFileSync("umount", [there]);
      }
    },
  );

  test("a file that changes while it is sent is no success", async (t) => {
    const { here, there } = await begin(t);
    const sshd = await startSshd();
    t.after(() => sshd.stop());
    const large = makeLargeFile(here, "large", 80);
    let isChanged = false;
    const machine = await connectTo(
      t,
      sshd,
      {},
      {
        progress: (text) => {
          if (isChanged || !text.includes(" of ")) return;
          isChanged = true;
          const file = fs.openSync(large, "r+");
          for (const megabyte of [1, 79]) fs.writeSync(file, "changed", megabyte * 1024 * 1024);
          fs.closeSync(file);
        },
      },
    );
    await assert.rejects(
      machine.upload({ path: large }, `${there}/large`, never),
      /changed while it was read/,
    );
    assert.ok(isChanged);
    assert.deepEqual(fs.readdirSync(there), []);
  });

  test("a name that is no text is refused by its name", async (t) => {
    const { machine, here, there } = await begin(t);
    fs.writeFileSync(Buffer.concat([Buffer.from(`${here}/`), Buffer.from([0xff, 0x61])]), "x");
    await assert.rejects(machine.upload({ path: `${here}/` }, `${there}/`, never), /name that is not UTF-8/);
    requireClean(path.dirname(there));
  });
});
