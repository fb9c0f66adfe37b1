import { createHash } from "node:crypto";
import type { Json } from "./model";

/** The version of the algorithm. A new one keeps the old beside it, to compare with states that were made by it. */
const VERSION = "k1";

/**
 * The identity of an image: a hash of what the user set and of the contents of its sources, the same on any machine,
 * in any folder, at any time. Absent options are not hashed, so that a release which adds an option, or changes a
 * default, rebuilds nothing.
 */
export function computeFingerprint(identity: { [key: string]: Json | undefined }): string {
  return `${VERSION}:${createHash("sha256").update(canonicalize(identity)).digest("hex")}`;
}

/** The part of a fingerprint that goes into names. */
export function shortenFingerprint(fingerprint: string): string {
  return (fingerprint.split(":")[1] ?? fingerprint).slice(0, 12);
}

/** A short hash for people to compare. */
export function hashShort(value: Json): string {
  return createHash("sha256").update(canonicalize(value)).digest("hex").slice(0, 12);
}

/** JSON with sorted keys and without what is undefined: one text for one value. */
export function canonicalize(value: Json | undefined | { [key: string]: Json | undefined }): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalize(item)).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalize(item)}`).join(",")}}`;
  }
  return JSON.stringify(value ?? null);
}
