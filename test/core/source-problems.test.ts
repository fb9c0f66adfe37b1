import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { createServer } from "node:net";
import * as path from "node:path";
import { describe, it } from "node:test";
import { SourceProblems, type SourceSpec, hashSources } from "../../src/core/source-tree";
import { type Files, makeWorkFolder } from "./source-folders";

const { cwd, makeFolder, at } = makeWorkFolder();

const app: Files = {
  "main.py": "print(1)\n",
  "run.sh": "#!/bin/sh\n",
  "static/a.css": "a{}",
  "static/b.css": "b{}",
};

async function hashOne(spec: string | SourceSpec, cacheDir = path.join(cwd, "cache")): Promise<string> {
  const [tree] = await hashSources([typeof spec === "string" ? { path: spec } : spec], { cwd, cacheDir });
  return tree?.hash ?? "";
}

async function findProblems(...specs: SourceSpec[]): Promise<SourceProblems> {
  return hashSources(specs, { cwd, cacheDir: path.join(cwd, "cache") }).then(
    () => assert.fail("there were no problems"),
    (error: unknown) => {
      assert.ok(error instanceof SourceProblems);
      return error;
    },
  );
}

describe("problems", () => {
  it("are all told at once, each with its path", async (t) => {
    const folder = makeFolder({ ...app, "sub/x": "" });
    execFileSync("mkfifo", [at(folder, "sub/pipe")]);
    fs.writeFileSync(Buffer.concat([Buffer.from(at(folder, "caf")), Buffer.from([0xe9])]), "");
    const server = createServer().listen(at(folder, "talk.sock"));
    t.after(() => server.close());
    await new Promise((resolve) => server.once("listening", resolve));
    fs.symlinkSync("loop", path.join(cwd, "loop"));

    const error = await findProblems(
      { path: folder },
      { path: "gone" },
      { path: "loop" },
      { path: `${folder}/sub/pipe` },
    );
    assert.equal(error.name, "SourceProblems");
    const text = error.problems.map((p) => `${p.path} ${p.reason}`).join("\n");
    assert.match(
      text,
      new RegExp(`^${folder}/caf\uFFFD has a name that is not UTF-8. Rename it or add it to`, "m"),
    );
    assert.match(text, new RegExp(`^${folder}/sub/pipe is a FIFO`, "m"));
    assert.match(text, new RegExp(`^${folder}/talk.sock is a socket`, "m"));
    assert.match(text, /^gone does not exist/m);
    assert.match(text, /^loop is a symbolic link that leads to itself/m);
    assert.match(
      text,
      new RegExp(`^${folder}/sub/pipe is a FIFO.*\n(.*\n)*${folder}/sub/pipe is a FIFO`, "m"),
    );
    assert.equal(error.problems.length, 6);
    for (const problem of error.problems)
      assert.ok(error.message.includes(`${problem.path}: ${problem.reason}`));

    const ignore = ["caf*", "pipe", "*.sock"];
    assert.equal(await hashOne({ path: folder, ignore }), await hashOne(makeFolder({ ...app, "sub/x": "" })));
  });

  it("beyond the twentieth are counted", async () => {
    const error = await findProblems(...Array.from({ length: 25 }, (_, i) => ({ path: `none-${i}` })));
    assert.equal(error.problems.length, 20);
    assert.match(error.message, /… and 5 more$/);
  });

  it("of a name that holds the replacement character are none", async () => {
    assert.equal((await hashOne(makeFolder({ "a\uFFFD": "" }))).length, 64);
  });
});
