/** Small JSON files that are only a cache: what is in them can be found out again. */
import * as fs from "node:fs";
import { writeWholeFile } from "./whole-file";

/** Undefined for what is missing or damaged. */
export function readCacheFile<T>(file: string): T | undefined {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")) as T;
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

export function writeCacheFile(file: string, content: unknown): void {
  writeWholeFile(file, JSON.stringify(content));
}
