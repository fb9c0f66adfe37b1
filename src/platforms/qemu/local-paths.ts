import * as path from "node:path";
import { SSH_PATH_OPTIONS } from "../../communicators/ssh-schema";
import type { Json } from "../../core/model";
import type { QemuImageOptions } from "./options";

const PATHS = ["httpDirectory", "outputDirectory", "adopt", ...SSH_PATH_OPTIONS] as const;
const LISTS = ["cdFiles", "floppyFiles"] as const;

/** See `Platform.localize`. The options may hold anything: nobody has validated them yet. */
export function localizePaths(
  options: QemuImageOptions,
  relativize: (text: string) => string,
): QemuImageOptions {
  const localized = { ...options };
  for (const name of PATHS) {
    const value: unknown = options[name];
    if (typeof value === "string") localized[name] = relativize(value);
  }
  for (const name of LISTS) {
    const value: unknown = options[name];
    if (Array.isArray(value))
      localized[name] = value.map((item: unknown) =>
        typeof item === "string" ? relativize(item) : item,
      ) as string[];
  }
  if (typeof options.efi === "object")
    localized.efi = {
      code: relativize(options.efi.code),
      variables: relativize(options.efi.variables),
    };
  if (typeof options.isoUrl === "string" && isLocal(options.isoUrl))
    localized.isoUrl = relativize(options.isoUrl);
  return localized;
}

export function isLocal(source: string): boolean {
  return path.isAbsolute(source) || !/^[a-z][a-z0-9+.-]+:/i.test(source);
}

/** Folders and files whose contents the machine gets while it starts. Unknown ones are among them as they came. */
export function listMediaSources(options: QemuImageOptions): { path: string }[] {
  const { httpDirectory, cdFiles, floppyFiles, efi } = options;
  const firmware = typeof efi === "object" ? [efi.code, efi.variables] : [];
  const files = [...listTexts(cdFiles), ...listTexts(floppyFiles)].map(stripPattern);
  return [...listTexts(httpDirectory), ...files, ...firmware].map((file) => ({ path: file }));
}

/** Under which names the contents are given, wherever they lie here: `seed` is a folder there, `seed/` what is in it. */
export function nameMedia({ httpDirectory, cdFiles, floppyFiles }: QemuImageOptions): Json {
  const names = (texts: readonly string[] | undefined): string[] =>
    listTexts(texts).map((text) => text.replace(/^.*\/(?=[^/])/, "").replace(/^[^/]*\/$/, "/"));
  return { http: httpDirectory !== undefined, cd: names(cdFiles), floppy: names(floppyFiles) };
}

/** A list that is not known yet arrives as one text. */
function listTexts(value: string | readonly string[] | undefined): readonly string[] {
  return value === undefined ? [] : typeof value === "string" ? [value] : value;
}

/** Of a pattern the folder that it begins with: one file too many there costs a rebuild, one too few a wrong image. */
function stripPattern(text: string): string {
  const parts = text.split("/");
  const first = parts.findIndex((part) => /[*?[]/.test(part));
  return first < 0 ? text : parts.slice(0, first).join("/") || ".";
}
