import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { after } from "node:test";

/** Files by path; a name that ends in "/" is a folder, content that begins with "->" a link's target. */
export type Files = Record<string, string | Buffer>;

/** A folder for the sources of one test file, removed after its tests. */
export function makeWorkFolder() {
  const cwd = fs.mkdtempSync(path.join(tmpdir(), "kiln-sources-"));
  after(() => fs.rmSync(cwd, { recursive: true, force: true }));
  let folderCount = 0;
  const at = (folder: string, file: string): string => path.join(cwd, folder, file);
  const makeFolder = (files: Files): string => {
    const name = `folder-${++folderCount}`;
    fs.mkdirSync(path.join(cwd, name));
    for (const [file, content] of Object.entries(files)) write(at(name, file), content);
    return name;
  };
  return { cwd, at, makeFolder };
}

/** As many small files as wanted, in seven folders. */
export function makeFiles(count: number): Files {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`d${i % 7}/f${i}`, `content ${i}`]));
}

function write(full: string, content: string | Buffer): void {
  const isFolder = full.endsWith("/");
  fs.mkdirSync(isFolder ? full : path.dirname(full), { recursive: true });
  if (isFolder) return;
  if (typeof content === "string" && content.startsWith("->")) fs.symlinkSync(content.slice(2), full);
  else fs.writeFileSync(full, content);
}
