import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { SourceNode } from "../../src/core/source-cut";
import { type SourceTree, cutTrees, hashSources } from "../../src/core/source-tree";
import { makeWorkFolder } from "./source-folders";

const { cwd, makeFolder } = makeWorkFolder();

async function makeTree(files: Record<string, string>): Promise<SourceTree> {
  const [tree] = await hashSources([{ path: makeFolder(files) }], { cwd, cacheDir: `${cwd}/cache` });
  assert.ok(tree);
  return tree;
}

function many(folder: string, count: number): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`${folder}/${String(i).padStart(4, "0")}`, `${i}`]),
  );
}

describe("the cut of a tree", () => {
  it("names each file of a small source", async () => {
    const tree = await makeTree({ "main.py": "1", "static/a.css": "2", "empty/": "", link: "->main.py" });
    const cut = cutTrees([{ name: "app/", tree }]);
    assert.deepEqual(Object.keys(cut), ["app/empty/", "app/link", "app/main.py", "app/static/a.css"]);
    assert.equal(cut["app/main.py"], "6b86b273ff34");
    assert.match(cut["app/link"] ?? "", /^[0-9a-f]{12}\+link$/);
  });

  it("names the large folders of a large source, and the files beside them", async () => {
    const tree = await makeTree({
      "main.py": "1",
      ...many("a", 250),
      ...many("static", 300),
      "src/x.py": "2",
    });
    const cut = cutTrees([{ name: "app", tree }]);
    assert.deepEqual(Object.keys(cut).slice(0, 2), ["app/a/0000", "app/a/0001"]);
    assert.deepEqual(Object.keys(cut).slice(-3), ["app/main.py", "app/src/x.py", "app/static/"]);
    assert.equal(Object.keys(cut).length, 253);
    const less = cutTrees([{ name: "app", tree }], 100);
    assert.deepEqual(Object.keys(less), ["app/a/", "app/main.py", "app/src/x.py", "app/static/"]);
  });

  it("of a flat source that is too large is its name and hash", async () => {
    const tree = await makeTree(many("x", 300));
    assert.deepEqual(Object.keys(cutTrees([{ name: "app", tree }])), ["app/x/"]);
    assert.deepEqual(cutTrees([{ name: ".", tree }], 1), {
      "x/": cutTrees([{ name: "app", tree }])["app/x/"],
    });
  });

  it("shows who may execute, and a single file by its own name", async () => {
    const tree = await makeTree({ "main.py": "1" });
    const [file] = await hashSources([{ path: `${tree.path}/main.py` }], { cwd });
    assert.ok(file);
    assert.deepEqual(cutTrees([{ name: file.path, tree: file }]), {
      [`${tree.path}/main.py`]: file.hash.slice(0, 12),
    });
  });

  it("keeps two sources of one name apart, and shows the same one once", async () => {
    const [one, other, third] = [
      await makeTree({ a: "1" }),
      await makeTree({ a: "2" }),
      await makeTree({ a: "3" }),
    ];
    const cut = cutTrees([one, other, one, other, third].map((tree) => ({ name: "app", tree })));
    assert.deepEqual(Object.keys(cut), ["app/a", "app#2/a", "app#3/a"]);
    assert.notEqual(cut["app/a"], cut["app#2/a"]);
  });

  it("has room for a file called __proto__", async () => {
    const cut = cutTrees([{ name: ".", tree: await makeTree({ ["__proto__"]: "1", constructor: "2" }) }]);
    assert.deepEqual(Object.keys(cut), ["__proto__", "constructor"]);
    assert.equal(
      JSON.stringify(cut),
      `{"__proto__":"6b86b273ff34","constructor":"${String(cut.constructor)}"}`,
    );
  });

  it("of more sources than there is room for tells of the rest", async () => {
    const tree = await makeTree({ a: "1" });
    const trees = Array.from({ length: 300 }, (_, i) => ({ name: `s${i}`, tree: { ...tree, hash: `${i}` } }));
    const cut = cutTrees(trees);
    assert.equal(Object.keys(cut).length, 256);
    const changed = cutTrees([...trees.slice(0, 299), { name: "s299", tree: { ...tree, hash: "x" } }]);
    assert.notDeepEqual(changed, cut);
  });

  it("never exceeds its limit, is never empty, and covers every file by itself or a folder above", () => {
    const node: fc.Memo<SourceNode> = fc.memo((depth) =>
      depth > 1 ? fc.oneof(file, folder(depth - 1)) : file,
    );
    const file = fc.string().map((hash): SourceNode => ({ name: "", hash, isFolder: false }));
    const folder = (depth: number): fc.Arbitrary<SourceNode> =>
      fc.array(node(depth), { maxLength: 9 }).map((nodes) => ({
        name: "",
        hash: "h",
        isFolder: true,
        children: nodes.map((child, i) => ({ ...child, name: `n${i}` })),
      }));
    fc.assert(
      fc.property(folder(5), fc.integer({ min: 1, max: 40 }), (top, limit) => {
        const tree: SourceTree = { path: "s", kind: "directory", hash: "h", fileCount: 0, sizeBytes: 0, top };
        const keys = Object.keys(cutTrees([{ name: "s", tree }], limit));
        assert.ok(keys.length >= 1 && keys.length <= limit);
        for (const path of listPaths(top, "s"))
          assert.equal(
            keys.filter((key) => key === path || (key.endsWith("/") && path.startsWith(key))).length,
            1,
            path,
          );
      }),
    );
  });
});

function listPaths(node: SourceNode, path: string): string[] {
  if (!node.isFolder) return [path];
  if (node.children?.length === 0) return [`${path}/`];
  return (node.children ?? []).flatMap((child) => listPaths(child, `${path}/${child.name}`));
}
