import type { PlannedEntry } from "./planned-entry";

/** What hashes files on the machine, best first where there are few of them; any one of these will do. */
const HASH_PROGRAMS = ["sha256sum", "shasum", "openssl", "sha256"] as const;

export type HashProgram = (typeof HASH_PROGRAMS)[number];

/** From here on, on average, openssl's faster hashing is worth what it takes more for each file. */
const LARGE_FILE_BYTES = 256 * 1024;
/** From so many files on it is worth its start: it reads less of each than the others do. */
const MANY_FILES = 100;
const HASH_LENGTH = 64;

interface Choice {
  sizeBytes: number;
  files: readonly PlannedEntry[];
  /** A list comes as slowly as the files are hashed here: meanwhile the machine can hash its own, but not by openssl. */
  isStreamed: boolean;
  /** A first try was said to be damaged: was that the program's fault? */
  isDoubted: boolean;
}

/** The program that the machine is to use, of those that it has; undefined if it has none. */
export function chooseHashProgram(
  available: ReadonlySet<string>,
  { sizeBytes, files, isStreamed, isDoubted }: Choice,
): HashProgram | undefined {
  const isLarge = sizeBytes > LARGE_FILE_BYTES * files.length;
  const isMuch = isLarge || (!isStreamed && files.length > MANY_FILES);
  if (isMuch && !isDoubted && available.has("openssl")) return "openssl";
  return HASH_PROGRAMS.find((program) => available.has(program));
}

/** Lines as the program prints or checks them, run in the folder where the ordinary entries are. */
export function formatManifest(files: readonly PlannedEntry[], program: HashProgram): string {
  const mark = program === "openssl" ? " *" : "  ";
  return files.map((entry) => `${entry.hash}${mark}${nameInManifest(entry)}\n`).join("");
}

/** The same files for `xargs -0`. */
export function formatNames(files: readonly PlannedEntry[]): string {
  return files.map((entry) => `${nameInManifest(entry)}\0`).join("");
}

/** Of an ordinary name, before its hash is known. */
export function manifestLineBytes({ name }: PlannedEntry): number {
  return HASH_LENGTH + 2 + Buffer.byteLength(name) + 1;
}

export function nameInManifest({ isOdd, staged, name }: PlannedEntry): string {
  return isOdd ? `../${staged}` : name;
}
