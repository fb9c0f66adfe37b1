/** The identifiers of files in an ISO 9660 image: short ones for old readers, and Joliet's for Windows. */
import { compareNames, type TreeFile, type TreeFolder } from "./media-tree";

export type TreeNode = TreeFile | TreeFolder;

/** One of the two trees in an image. */
export interface NameScheme {
  /** Of the volume descriptor. */
  type: number;
  /** Tells a reader the alphabet. */
  escapeSequence: string;
  /** The entries of a folder with their identifiers, in the order of these. */
  nameEntries(folder: TreeFolder): { node: TreeNode; id: Buffer }[];
  /** Text of a fixed length, filled up with spaces. */
  encodeText(text: string, sizeBytes: number): Buffer;
}

/** Eight characters and three. The real names are Rock Ridge's. */
export const isoNames: NameScheme = {
  type: 1,
  escapeSequence: "",
  encodeText: (text, sizeBytes) => Buffer.from(text.padEnd(sizeBytes).slice(0, sizeBytes), "latin1"),
  nameEntries: (folder) =>
    nameUniquely(
      folder,
      (node, attempt) => shortenName(node, attempt),
      (node, name) => Buffer.from("files" in node ? name.replace(/\.$/, "") : `${name};1`, "latin1"),
    ),
};

// Microsoft says 64; it, Linux and others read up to this.
const LONGEST_JOLIET_NAME = 103;

/** The real names in 16-bit characters. A name that is too long for it, or not allowed, differs. */
export const jolietNames: NameScheme = {
  type: 2,
  escapeSequence: "%/E",
  encodeText: (text, sizeBytes) => {
    const characters = Math.floor(sizeBytes / 2);
    return Buffer.concat([encodeWide(text.slice(0, characters).padEnd(characters))], sizeBytes);
  },
  nameEntries: (folder) =>
    nameUniquely(
      folder,
      (node, attempt) => shortenWideName(node.name, attempt),
      (node, name) => encodeWide("files" in node ? name : `${name};1`),
    ),
};

function nameUniquely(
  folder: TreeFolder,
  shorten: (node: TreeNode, attempt: number) => string,
  encode: (node: TreeNode, name: string) => Buffer,
): { node: TreeNode; id: Buffer }[] {
  const taken = new Set<string>();
  // Where to go on among names that begin alike: thousands of drivers in one folder do.
  const attempts = new Map<string, number>();
  const nodes: TreeNode[] = [...folder.folders, ...folder.files].sort((a, b) => compareNames(a.name, b.name));
  const entries = nodes.map((node) => {
    const first = shorten(node, 0);
    let attempt = attempts.get(first) ?? 0;
    let name = shorten(node, attempt);
    while (taken.has(name)) name = shorten(node, ++attempt);
    attempts.set(first, attempt);
    taken.add(name);
    return { node, id: encode(node, name) };
  });
  return entries.sort((a, b) => Buffer.compare(a.id, b.id));
}

/** Splits at the last dot; a name that begins with it has no ending. */
function splitName(name: string): [stem: string, ending: string] {
  const dot = name.lastIndexOf(".");
  return dot > 0 ? [name.slice(0, dot), name.slice(dot + 1)] : [name, ""];
}

function shortenName(node: TreeNode, attempt: number): string {
  const parts = "files" in node ? [node.name] : splitName(node.name);
  const [stem, ending] = parts.map((part) => part.toUpperCase().replace(/[^A-Z0-9_]/g, "_"));
  const number = attempt === 0 ? "" : String(attempt);
  return `${(stem ?? "").slice(0, 8 - number.length)}${number}.${(ending ?? "").slice(0, 3)}`;
}

function shortenWideName(name: string, attempt: number): string {
  const allowed = name.replace(/[*/:;?\\]/g, "_");
  if (attempt === 0 && allowed.length <= LONGEST_JOLIET_NAME) return allowed;
  const [stem, ending] = splitName(allowed);
  const tail = `~${attempt + 1}${ending === "" ? "" : `.${ending.slice(0, 16)}`}`;
  return stem.slice(0, LONGEST_JOLIET_NAME - tail.length) + tail;
}

function encodeWide(text: string): Buffer {
  return Buffer.from(text, "utf16le").swap16();
}
