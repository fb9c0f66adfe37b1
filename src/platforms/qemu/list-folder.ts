import * as fs from "node:fs";

/** Names in a folder, without drafts. Another process may remove it at the same time: then it has none. */
export function listFolder(folder: string): string[] {
  try {
    return fs.readdirSync(folder).filter((name) => !name.endsWith(".draft"));
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return [];
    throw error;
  }
}
