/** Small JSON files of the cache folder: what is in them can be found out again. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";

/** Undefined for what is missing or damaged: it is only a cache. */
export function readCacheFile<T>(file: string): T | undefined {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")) as T;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** In one step: who reads at the same time finds the old content or the new. */
export function writeCacheFile(file: string, content: unknown): void {
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${randomBytes(6).toString("hex")}.draft`;
  fs.writeFileSync(draft, JSON.stringify(content), { mode: 0o600 });
  fs.renameSync(draft, file);
}
