/** Checksums of sources as Packer takes them, and the files in which distributions publish theirs. */
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { withDeadline } from "../core/retry";
import { fetchText, hideSecrets } from "./http-request";

/** Which hash a file must have. */
export interface Checksum {
  algorithm: ChecksumAlgorithm;
  /** Hexadecimal, in lower case. */
  digest: string;
}

export type ChecksumAlgorithm = "md5" | "sha1" | "sha256" | "sha512";

const DIGEST_LENGTHS: Record<ChecksumAlgorithm, number> = { md5: 32, sha1: 40, sha256: 64, sha512: 128 };
const ALGORITHMS = Object.keys(DIGEST_LENGTHS) as ChecksumAlgorithm[];

/** Reads the option. Throws with what was expected. Same as Packer's `iso_checksum`. */
export function parseChecksum(text: string): Checksum | { file: string } | "none" {
  const given = text.trim();
  if (given.toLowerCase() === "none") return "none";
  const [, prefix, rest = ""] = /^([A-Za-z0-9]+):(.*)$/s.exec(given) ?? [];
  if (prefix?.toLowerCase() === "file" && rest !== "") return { file: rest };
  const digest = (prefix === undefined ? given : rest).toLowerCase();
  const algorithm =
    prefix === undefined
      ? findAlgorithm(digest)
      : ALGORITHMS.find((known) => known === prefix.toLowerCase().replace("-", ""));
  if (algorithm && /^[0-9a-f]+$/.test(digest) && digest.length === DIGEST_LENGTHS[algorithm])
    return { algorithm, digest };
  const length = algorithm
    ? `${DIGEST_LENGTHS[algorithm]} hexadecimal digits after "${algorithm}:", got ${digest.length} characters`
    : undefined;
  throw new Error(
    `Reading the checksum ${JSON.stringify(text)}: expected ${length ?? 'the hexadecimal digits of an MD5, SHA-1, SHA-256 or SHA-512, or "sha256:<digits>", "file:<URL or path>" or "none"'}.`,
  );
}

/** The checksum of a source; for `file:` the file is fetched and the source's line looked up. Undefined for "none". */
export async function resolveChecksum(
  text: string,
  sourceUrl: string,
  { cwd, signal, timeoutMs }: { cwd: string; signal: AbortSignal; timeoutMs?: number },
): Promise<Checksum | undefined> {
  const parsed = parseChecksum(text);
  if (parsed === "none") return undefined;
  if (!("file" in parsed)) return parsed;
  const shown = hideSecrets(parsed.file);
  const list = await withDeadline(`Fetching the checksums ${shown}`, timeoutMs, signal, (inner) =>
    readList(parsed.file, cwd, inner),
  );
  return findInList(list, shown, readSourcePath(sourceUrl));
}

function findAlgorithm(digest: string): ChecksumAlgorithm | undefined {
  return ALGORITHMS.find((algorithm) => DIGEST_LENGTHS[algorithm] === digest.length);
}

async function readList(file: string, cwd: string, signal: AbortSignal): Promise<string> {
  if (/^https?:/i.test(file)) return fetchText(file, signal);
  const local = /^file:/i.test(file) ? fileURLToPath(file) : path.resolve(cwd, file);
  try {
    return await fs.promises.readFile(local, { encoding: "utf8", signal });
  } catch (error) {
    throw new Error(`Reading the checksums ${local}: ${(error as Error).message}`, { cause: error });
  }
}

/** Path of a URL or of a local file, "/" separated. */
function readSourcePath(source: string): string {
  if (!/^(https?|file):/i.test(source)) return source.replaceAll("\\", "/");
  const { pathname } = new URL(source);
  try {
    return decodeURIComponent(pathname);
  } catch {
    return pathname; // a stray "%" is part of the name
  }
}

interface Line {
  checksum: Checksum;
  /** Undefined for a digest alone. */
  name: string | undefined;
}

function findInList(list: string, listName: string, sourcePath: string): Checksum {
  const lines = list.split(/\r?\n/).flatMap((line) => readLine(line) ?? []);
  const fileName = path.posix.basename(sourcePath);
  const named = lines.filter(({ name }) => name !== undefined && isNameOf(name, sourcePath));
  // A file of one digest without a name can only mean the file beside it.
  const chosen = named.length > 0 ? named : lines.length === 1 && lines[0]?.name === undefined ? lines : [];
  const strongest = Math.max(...chosen.map(({ checksum }) => ALGORITHMS.indexOf(checksum.algorithm)));
  const found = chosen.filter(({ checksum }) => ALGORITHMS.indexOf(checksum.algorithm) === strongest);
  const [first] = found;
  const looked = `Looking for the checksum of "${fileName}" in ${listName}`;
  if (!first) throw new Error(`${looked}: ${describeMissing(lines, fileName)}`);
  const digests = new Set(found.map(({ checksum }) => checksum.digest));
  if (digests.size > 1)
    throw new Error(
      `${looked}: it stands there ${digests.size} times, with different digests. Give the digest itself.`,
    );
  return first.checksum;
}

function describeMissing(lines: readonly Line[], fileName: string): string {
  if (lines.length === 0)
    return "no line of it is a checksum (`<digest>  <name>` or `SHA256 (<name>) = <digest>`). Is it the right file?";
  const names = lines.flatMap(({ name }) => name ?? []);
  const near = names.filter((name) => path.posix.basename(name) === fileName);
  const shown = (near.length > 0 ? near : names).slice(0, 5).join(", ");
  return `no line names it. It has ${lines.length} checksums: ${shown}${names.length > 5 ? ", …" : ""}`;
}

/** GNU's form (`*` before the name means binary), BSD's, or a digest alone. */
function readLine(line: string): Line | undefined {
  const bsd = /^([A-Za-z0-9-]+) ?\((.+)\) ?= ?([0-9a-fA-F]+)\s*$/.exec(line);
  const gnu = /^([0-9a-fA-F]+)(?:\s+\*?(\S.*?))?\s*$/.exec(line.trimStart());
  const [digest, name] = bsd ? [bsd[3], bsd[2]] : [gnu?.[1], gnu?.[2]];
  if (digest === undefined) return undefined;
  const algorithm = findAlgorithm(digest);
  if (!algorithm || (bsd && bsd[1]?.toLowerCase().replace("-", "") !== algorithm)) return undefined;
  return { checksum: { algorithm, digest: digest.toLowerCase() }, name };
}

/** A line may name its file by a path, which must then be where the source's path ends. */
function isNameOf(name: string, sourcePath: string): boolean {
  const plain = path.posix.normalize(name.replaceAll("\\", "/")).replace(/^(\.\.\/|\/)+/, "");
  return sourcePath === plain || sourcePath.endsWith(`/${plain}`);
}
