/** Random contents of media. */
import fc from "fast-check";
import type { MediaFile } from "../../src/machines/media";

/** Characters that are easily confused, need more bytes than one, or are not allowed somewhere. */
const unit = fc.constantFrom(...Array.from("abcXYZ01 ._-~;'é漢😀+[]"));

/** Names that are allowed on a floppy too, and differ by more than case. */
const name = fc
  .oneof(
    fc.string({ unit, minLength: 1, maxLength: 12 }),
    fc.string({ unit, minLength: 1, maxLength: 60 }),
    fc.constantFrom(
      "n".repeat(255),
      `${"long ".repeat(40)}x.conf`,
      "AUTOEXEC.BAT",
      "preseed.cfg",
      "aux.tar.gz",
    ),
  )
  .map((text) => text.replace(/^ +|[. ]+$/g, "") || "x");

const content = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  fc.integer({ min: 2046, max: 4098 }).map((length) => new Uint8Array(length).fill(length)),
);

/** Files with folders that lead to them, and empty folders; no two names differ by case alone. */
export const mediaFiles: fc.Arbitrary<MediaFile[]> = fc
  .array(
    fc.record({
      parts: fc.array(name, { minLength: 1, maxLength: 4 }),
      kind: fc.constantFrom("file", "file", "file", "folder"),
      content,
    }),
    { maxLength: 40 },
  )
  .map((drawn) => {
    const files: MediaFile[] = [];
    const known = new Map<string, { spelling: string; isFile: boolean }>();
    for (const { parts, kind, content } of drawn) {
      const keys = parts.map((_, index) =>
        parts
          .slice(0, index + 1)
          .join("/")
          .toLowerCase(),
      );
      const own = keys.at(-1) ?? "";
      if (known.has(own) || keys.some((key) => known.get(key)?.isFile)) continue;
      const spelt = parts.map((part, index) => known.get(keys[index] ?? "")?.spelling ?? part);
      keys.forEach((key, index) =>
        known.set(key, { spelling: spelt[index] ?? "", isFile: key === own && kind === "file" }),
      );
      const name = spelt.join("/");
      files.push(
        kind === "file"
          ? { name, content: Buffer.from(content) }
          : { name: `${name}/`, content: Buffer.alloc(0) },
      );
    }
    return files;
  });

/** What a reader should find: files by path. */
export function listContents(files: readonly MediaFile[]): [string, Buffer | undefined][] {
  const found = new Map<string, Buffer | undefined>();
  for (const file of files) {
    const parts = file.name.replace(/\/$/, "").split("/");
    for (let depth = 1; depth < parts.length; depth++) found.set(parts.slice(0, depth).join("/"), undefined);
    if (!file.name.endsWith("/") && "content" in file) found.set(file.name, file.content);
    else found.set(parts.join("/"), undefined);
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1));
}
