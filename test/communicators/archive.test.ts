import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import * as tar from "tar-stream";
import { packContent, packEntries, type Archive, type ArchiveTarget } from "../../src/communicators/archive";
import { listSource, type SourceSpec } from "../../src/core/source-tree";
import { makeFolder } from "../support/context";

async function packSource(
  source: SourceSpec,
  cwd: string,
  target: ArchiveTarget,
  signal: AbortSignal,
): Promise<Archive> {
  return packEntries(await listSource(source, { cwd, signal }), path.join(cwd, source.path), target);
}

const never = new AbortController().signal;
const here: ArchiveTarget = { newFolders: [], path: "", owner: { uid: 1000, gid: 1001 } };

interface Listed {
  name: string;
  type: string;
  mode: number;
  content: string;
}

async function list(archive: Archive): Promise<Listed[]> {
  const extract = tar.extract();
  let sizeBytes = 0;
  const bytes = Readable.from(
    (async function* () {
      for await (const piece of archive.stream()) {
        sizeBytes += piece.length;
        yield Buffer.from(piece);
      }
    })(),
  );
  bytes.on("error", (error) => extract.destroy(error));
  bytes.pipe(extract);
  const found: Listed[] = [];
  for await (const entry of extract) {
    const { name, type, mode, linkname, uid, gid } = entry.header;
    assert.deepEqual([uid, gid], [1000, 1001]);
    const content = await text(entry);
    found.push({
      name,
      type: type ?? "",
      mode: mode ?? 0,
      content: type === "symlink" ? (linkname ?? "") : content,
    });
  }
  assert.equal(archive.measureBytes(), sizeBytes);
  return found;
}

test("a folder keeps names, modes, links and empty folders; one that is there already is not touched", async (t) => {
  const cwd = makeFolder(t);
  const root = path.join(cwd, "app");
  const long = `${"d".repeat(90)}/${"e".repeat(90)}/${"f".repeat(120)}`;
  for (const folder of ["empty", "sub", path.dirname(long)])
    fs.mkdirSync(path.join(root, folder), { recursive: true });
  fs.writeFileSync(path.join(root, "run.sh"), "x", { mode: 0o755 });
  fs.writeFileSync(path.join(root, "sub/new\nline ü.txt"), "y", { mode: 0o640 });
  fs.writeFileSync(path.join(root, long), "z");
  fs.writeFileSync(path.join(root, "skip.log"), "");
  fs.symlinkSync("run.sh", path.join(root, "link"));
  const entries = await list(await packSource({ path: "app", ignore: ["*.log"] }, cwd, here, never));
  const byName = new Map(entries.map((entry) => [entry.name, entry]));
  assert.ok(!byName.has("") && !byName.has("./") && !byName.has("skip.log"));
  assert.equal(byName.get("run.sh")?.mode, 0o755);
  assert.equal(byName.get("sub/new\nline ü.txt")?.mode, 0o640);
  assert.equal(byName.get(long)?.content, "z");
  assert.deepEqual([byName.get("link")?.type, byName.get("link")?.content], ["symlink", "run.sh"]);
  assert.equal(byName.get("empty/")?.type, "directory");
});

test("missing folders on the other side come first, and once", async (t) => {
  const cwd = makeFolder(t);
  fs.mkdirSync(path.join(cwd, "app"));
  fs.writeFileSync(path.join(cwd, "app/a"), "1");
  const target = { ...here, newFolders: ["srv", "srv/app"], path: "srv/app" };
  const entries = await list(await packSource({ path: "app/" }, cwd, target, never));
  assert.deepEqual(
    entries.map((entry) => entry.name),
    ["srv/", "srv/app/", "srv/app/a"],
  );
  const one = await list(
    packContent(Buffer.from("hi"), 0o600, { ...here, newFolders: ["etc"], path: "etc/motd" }),
  );
  assert.deepEqual(
    one.map(({ name, mode, content }) => [name, mode, content]),
    [
      ["etc/", 0o755, ""],
      ["etc/motd", 0o600, "hi"],
    ],
  );
});

test("who sends a large file is told how far it is, and when all is sent", async (t) => {
  const cwd = makeFolder(t);
  fs.writeFileSync(path.join(cwd, "file"), Buffer.alloc(3_000_000));
  const shown: string[] = [];
  const entries = await listSource({ path: "file" }, { cwd, signal: never });
  const progress = { title: "file", show: (text: string) => void shown.push(text) };
  let nowMs = 0;
  t.mock.method(performance, "now", () => (nowMs += 60));
  for await (const piece of packEntries(
    entries,
    path.join(cwd, "file"),
    { ...here, path: "file" },
    progress,
  ).stream())
    assert.ok(piece.length > 0);
  assert.match(shown[0] ?? "", /^file: [\d.]+ [kM]B of 3\.0 MB, [\d.]+ MB\/s$/);
  assert.ok(shown.length > 2);
  assert.equal(shown.at(-1), "file: sent, and being unpacked");
});

test("a file that changes after it was hashed is noticed", async (t) => {
  const cwd = makeFolder(t);
  for (const size of [3 * 1024 * 1024, 9 * 1024 * 1024]) {
    const file = path.join(cwd, "file");
    fs.writeFileSync(file, Buffer.alloc(size, "a"));
    const archive = await packSource({ path: "file" }, cwd, { ...here, path: "file" }, never);
    fs.writeFileSync(file, Buffer.alloc(size, "b"));
    await assert.rejects(list(archive), /file changed while it was read/);
  }
});
