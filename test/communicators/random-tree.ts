/** Trees with all that a file system allows, for comparing what was sent with what arrived. */
import fc from "fast-check";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

/** A file, a link, or a folder. */
type Node = { content: Buffer; mode: number } | { link: string } | { tree: Tree };
export interface Tree {
  [name: string]: Node;
}

const name = fc
  .oneof(
    fc.constantFrom(
      "a", "b", "-", "--help", "-rf", ".hidden", "..x", "...", "a b", " lead", "trail ", "ü", "日本", "*", "?", "[a]", "$HOME", "`id`",
      "it's", 'say "hi"', "a\nb", "\n", "back\\slash", "cr\r", "tab\t", "x: OK", "y: FAILED", "~", "#", "&&", ";", "x".repeat(120), "é".repeat(60),
    ), // prettier-ignore
    fc.string({ minLength: 1, maxLength: 12, unit: "binary" }),
  )
  .map((text) => text.replace(/[/\0\p{Cs}]/gu, "_"))
  .filter(
    (text) =>
      text !== "." &&
      text !== ".." &&
      text.length > 0 &&
      !text.includes("\uFFFD") &&
      Buffer.byteLength(text) < 200,
  );

const file = fc.record({
  content: fc.oneof(
    fc.constant(Buffer.alloc(0)),
    fc.uint8Array({ maxLength: 3000 }).map((bytes) => Buffer.from(bytes)),
  ),
  mode: fc.constantFrom(0o644, 0o755, 0o600, 0o444, 0o000, 0o640, 0o777, 0o4755),
});
const link = fc.record({ link: fc.constantFrom("a", "../b", "/etc/passwd", "no\nwhere", "x".repeat(150)) });

export const tree: fc.Arbitrary<Tree> = fc.letrec<{ tree: Tree; node: Node }>((tie) => ({
  tree: fc.dictionary(name, tie("node"), { maxKeys: 6, noNullPrototype: true }),
  node: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    file,
    link,
    tie("tree").map((inner) => ({ tree: inner })),
  ),
})).tree;

export function writeTree(root: string, tree: Tree): void {
  fs.mkdirSync(root, { recursive: true });
  for (const [name, node] of Object.entries(tree)) {
    const file = `${root}/${name}`;
    if ("tree" in node) writeTree(file, node.tree);
    else if ("link" in node) fs.symlinkSync(node.link, file);
    else {
      fs.writeFileSync(file, node.content);
      fs.chmodSync(file, node.mode);
    }
  }
}

/** One line per entry: what it is, its mode, what is in it. */
export function describeTree(root: string, below = ""): string[] {
  return fs
    .readdirSync(Buffer.from(`${root}/${below}`, "latin1"), "latin1")
    .sort()
    .flatMap((name) => {
      const inner = below === "" ? name : `${below}/${name}`;
      const file = Buffer.from(`${root}/${inner}`, "latin1");
      const stats = fs.lstatSync(file);
      const mode = (stats.mode & 0o7777).toString(8);
      if (stats.isSymbolicLink()) return [`${inner} -> ${fs.readlinkSync(file, "latin1")}`];
      if (stats.isDirectory()) return [`${inner}/ ${mode}`, ...describeTree(root, inner)];
      return [`${inner} ${mode} ${createHash("sha256").update(fs.readFileSync(file)).digest("hex")}`];
    });
}

export function makeLargeFile(folder: string, name: string, megabytes: number): string {
  const file = path.join(folder, name);
  const stream = fs.openSync(file, "w");
  const piece = Buffer.alloc(1024 * 1024);
  for (let index = 0; index < megabytes; index++) {
    let word = index + 1;
    for (let at = 0; at < piece.length; at += 4) {
      word = (Math.imul(word, 1664525) + 1013904223) >>> 0;
      piece.writeUInt32LE(word, at);
    }
    fs.writeSync(stream, piece);
  }
  fs.closeSync(stream);
  return file;
}
