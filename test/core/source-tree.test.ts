import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { hashFolder } from "../../src/core/source-merkle";
import { type SourceSpec, hashRoot, hashSources, listSource } from "../../src/core/source-tree";
import { type Files, makeWorkFolder } from "./source-folders";

const { cwd, makeFolder, at } = makeWorkFolder();

async function hashOne(spec: string | SourceSpec, cacheDir = path.join(cwd, "cache")): Promise<string> {
  const [tree] = await hashSources([typeof spec === "string" ? { path: spec } : spec], { cwd, cacheDir });
  return tree?.hash ?? "";
}

const app: Files = {
  "main.py": "print(1)\n",
  "run.sh": "#!/bin/sh\n",
  "static/a.css": "a{}",
  "static/b.css": "b{}",
};

interface Pair {
  title: string;
  files?: Files;
  change: (folder: string) => void;
  same: boolean;
}

const pairs: Pair[] = [
  {
    title: "touching a file changes nothing",
    change: (f) => fs.utimesSync(at(f, "main.py"), 1, 1),
    same: true,
  },
  {
    title: "what a group may do changes nothing",
    change: (f) => fs.chmodSync(at(f, "run.sh"), 0o660),
    same: true,
  },
  {
    title: "making a file executable is a change",
    change: (f) => fs.chmodSync(at(f, "run.sh"), 0o755),
    same: false,
  },
  {
    title: "renaming a file is a change",
    change: (f) => fs.renameSync(at(f, "main.py"), at(f, "app.py")),
    same: false,
  },
  {
    title: "moving a file is a change",
    change: (f) => fs.renameSync(at(f, "main.py"), at(f, "static/main.py")),
    same: false,
  },
  { title: "an empty folder is a change", change: (f) => fs.mkdirSync(at(f, "empty")), same: false },
  {
    title: "an empty file is not an empty folder",
    files: { "x/": "" },
    change: swap("x", (p) => fs.writeFileSync(p, "")),
    same: false,
  },
  {
    title: "another line end is a change",
    change: (f) => fs.writeFileSync(at(f, "main.py"), "print(1)\r\n"),
    same: false,
  },
  {
    title: "a newline in a name is not two names",
    files: { "a\nb": "" },
    change: (f) => {
      fs.rmSync(at(f, "a\nb"));
      fs.writeFileSync(at(f, "a"), "");
      fs.writeFileSync(at(f, "b"), "");
    },
    same: false,
  },
  {
    title: "swapping the contents of two files is a change",
    change: (f) => {
      fs.writeFileSync(at(f, "static/a.css"), "b{}");
      fs.writeFileSync(at(f, "static/b.css"), "a{}");
    },
    same: false,
  },
  {
    title: "a link to a file is not the file",
    files: { a: "x", b: "->a" },
    change: swap("b", (p) => fs.writeFileSync(p, "x")),
    same: false,
  },
  {
    title: "a link is not a file that holds its target",
    files: { a: "x", b: "->a" },
    change: swap("b", (p) => fs.writeFileSync(p, "a")),
    same: false,
  },
  {
    title: "another target is a change",
    files: { b: "->a" },
    change: swap("b", (p) => fs.symlinkSync("c", p)),
    same: false,
  },
  {
    title: "a link out of the source counts by its text",
    files: { b: "->../gone" },
    change: () => undefined,
    same: true,
  },
];

function swap(file: string, make: (full: string) => void): (folder: string) => void {
  return (folder) => {
    fs.rmSync(at(folder, file), { recursive: true });
    make(at(folder, file));
  };
}

describe("two folders", () => {
  for (const { title, files = app, change, same } of pairs) {
    it(title, async () => {
      const [one, other] = [makeFolder(files), makeFolder(files)];
      assert.equal(await hashOne(one), await hashOne(other), "copies are the same");
      change(other);
      assert.equal((await hashOne(one)) === (await hashOne(other)), same);
    });
  }

  it("are the same in whatever order they were filled", async () => {
    const name = fc
      .string({ minLength: 1, maxLength: 4, unit: "grapheme" })
      .filter((s) => !/[/\0\uFFFD]|^\.{1,2}$/.test(s));
    const files = fc.uniqueArray(name, { minLength: 1, maxLength: 12 });
    const orders = files.chain((names) =>
      fc.tuple(fc.constant(names), fc.shuffledSubarray(names, { minLength: names.length })),
    );
    await fc.assert(
      fc.asyncProperty(orders, async ([names, shuffled]) => {
        const fill = (order: string[]): string =>
          makeFolder(Object.fromEntries(order.map((n) => [`d-${n}/${n}`, n])));
        assert.equal(await hashOne(fill(names)), await hashOne(fill(shuffled)));
      }),
      { numRuns: 40 },
    );
  });
});

describe("a source", () => {
  it("has the hash it always had", async () => {
    const script = makeFolder({ "run.sh": "echo hi\n" });
    fs.chmodSync(at(script, "run.sh"), 0o755);
    const found = {
      "an empty folder": await hashOne(makeFolder({})),
      "a file": await hashOne({ path: `${makeFolder({ "run.sh": "echo hi\n" })}/run.sh` }),
      "an executable file": await hashOne(`${script}/run.sh`),
      "a folder": await hashOne(makeFolder(app)),
      "a folder with a link, an empty folder and names beyond ASCII": await hashOne(
        makeFolder({ "ä/ü.txt": "ö", "leer/": "", "z\nz": "", link: "->ä/ü.txt", "𝒳": "1", ﬀ: "2" }),
      ),
    };
    assert.deepEqual(found, pinned);
  });

  it("that is itself a link is followed", async () => {
    const folder = makeFolder(app);
    fs.symlinkSync(folder, path.join(cwd, "current"));
    assert.equal(await hashOne("current"), await hashOne(folder));
    fs.symlinkSync(`${folder}/main.py`, path.join(cwd, "main"));
    assert.equal(await hashOne("main"), await hashOne(`${folder}/main.py`));
  });

  it("is the same by its absolute path, and is named relative to the program", async () => {
    const folder = makeFolder(app);
    const [tree] = await hashSources([{ path: path.join(cwd, folder) + "/" }], { cwd });
    assert.equal(tree?.path, folder);
    assert.equal(tree.hash, await hashOne(folder));
    assert.deepEqual([tree.fileCount, tree.sizeBytes], [4, 25]);
  });

  it("without what is ignored is the same as if that were not there", async () => {
    const bare = makeFolder(app);
    const full = makeFolder({ ...app, "node_modules/x/y.js": "1", "static/c.pyc": "2", "dist/a": "3" });
    const ignore = ["node_modules", "*.pyc", "/dist/"];
    assert.equal(await hashOne({ path: full, ignore }), await hashOne(bare));
    assert.notEqual(await hashOne({ path: full, ignore: [...ignore, "!c.pyc"] }), await hashOne(bare));
    assert.notEqual(
      await hashOne({ path: full, ignore: ["NODE_MODULES", "*.pyc", "/dist/"] }),
      await hashOne(bare),
    );
  });

  it("does not enter what is ignored", async () => {
    const folder = makeFolder({ ...app, "loop/a": "" });
    fs.renameSync(
      at(folder, "loop/a"),
      Buffer.concat([Buffer.from(at(folder, "loop/a")), Buffer.from([0xff])]),
    );
    assert.equal(await hashOne({ path: folder, ignore: ["loop/"] }), await hashOne(makeFolder(app)));
  });

  it("lists what it hashes", async () => {
    const folder = makeFolder({ ...app, "static/link": "->a.css" });
    fs.chmodSync(at(folder, "run.sh"), 0o750);
    const entries = await listSource({ path: folder }, { cwd });
    const order = ["", "main.py", "run.sh", "static", "static/a.css", "static/b.css", "static/link"];
    assert.deepEqual(
      entries.map((entry) => entry.path),
      order,
    );
    const [root, main, run, folderEntry, a, b, link] = entries;
    assert.ok(root && main && run && folderEntry && a && b && link);
    assert.equal(hashRoot(root), await hashOne(folder));
    assert.deepEqual([run.executable, run.mode, run.kind, run.sizeBytes], [true, 0o750, "file", 10]);
    assert.deepEqual([link.kind, link.target, link.executable], ["symlink", "a.css", false]);
    const lines = [a, b, link].map(({ path: p, hash, kind }) => ({
      name: path.posix.basename(p),
      kind: kind === "file" ? "f" : "l",
      hash,
    }));
    assert.equal(folderEntry.hash, hashFolder(lines));
  });

  it("of one file lists that file", async () => {
    const folder = makeFolder(app);
    const [entry, ...more] = await listSource({ path: `${folder}/main.py` }, { cwd });
    assert.deepEqual([entry?.path, entry?.kind, entry?.sizeBytes, more.length], ["", "file", 9, 0]);
  });
});

// For ever: an image made by an earlier release must keep its fingerprint.
const pinned = {
  "an empty folder": "304f40b973e2fad5f088b865ac4d78202f0c1d17b5169a1e57004b53cde83c68",
  "a file": "e384b4de3074341a2862884965745a1806b85638efabdbe8b5d5d69a27f234af",
  "an executable file": "475b02d7b33633e38d6a3bcd6a80550ddcfc5cd5dad14dfcc713a91c10eb76c0",
  "a folder": "60e94de042ad550631bcd104ae89a4af0384f33e4714024cad3e3ae22f47f80b",
  "a folder with a link, an empty folder and names beyond ASCII":
    "e7d21376aee4cf52c8e289336026a7e241d04fafd211012520b95471b2f66de1",
};
