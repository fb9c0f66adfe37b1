/** Patterns for paths as Go's `filepath.Glob` and so Packer has them: `*`, `?`, `[a-z]`, `[^a-z]`; none crosses a "/". */
import * as fs from "node:fs";
import * as path from "node:path";

export function isPattern(text: string): boolean {
  return /[*?[]/.test(text);
}

/** The paths that match, in order of their names; relative ones if the pattern is. A "/" at its end wants folders, and stays. */
export async function findMatches(pattern: string, cwd: string): Promise<string[]> {
  let found = [pattern.startsWith("/") ? "/" : ""];
  for (const part of pattern.split("/").filter((part) => part !== "")) {
    const next: string[] = [];
    for (const folder of found) next.push(...(await matchPart(folder, part, cwd)));
    found = next;
  }
  if (!pattern.endsWith("/")) return found;
  return found.filter((name) => isFolder(path.resolve(cwd, name))).map((name) => `${name}/`);
}

async function matchPart(folder: string, part: string, cwd: string): Promise<string[]> {
  const join = (name: string): string =>
    folder === "" || folder === "/" ? folder + name : `${folder}/${name}`;
  if (!isPattern(part)) return fs.existsSync(path.resolve(cwd, join(part))) ? [join(part)] : [];
  const full = path.resolve(cwd, folder);
  if (!isFolder(full)) return [];
  const matches = compilePart(part);
  const names = (await fs.promises.readdir(full)).filter((name) => matches.test(name));
  return names.sort((a, b) => (a < b ? -1 : 1)).map(join);
}

function isFolder(file: string): boolean {
  return fs.statSync(file, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function compilePart(part: string): RegExp {
  const source = part.replace(/\[\^?[^\]]+\]|[\s\S]/gu, (token) => {
    if (token === "*") return ".*";
    if (token === "?") return ".";
    if (token.length > 2 && token.startsWith("[")) return token.replaceAll("\\", "\\\\");
    return token.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  });
  return new RegExp(`^${source}$`, "su");
}
