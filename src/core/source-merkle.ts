import { createHash } from "node:crypto";
import { type SourceNode, chooseOpenFolders, keptNodes } from "./source-cut";
import { type EntryBatch, type Walk, entryKind } from "./source-walk";

/** A source as its upload needs it: every entry, with all that is known about it. */
export interface SourceEntry {
  /** Relative to the source, "/" separated; "" is the source itself. */
  path: string;
  kind: "file" | "directory" | "symlink";
  /** Whether its owner may execute the file: the only part of the mode that counts. False for what is no file. */
  executable: boolean;
  /** Permission bits as on disk. */
  mode: number;
  mtimeMs: number;
  sizeBytes: number;
  /** SHA-256 in hex: of a file's content, of a link's target, of a folder's list of entries. */
  hash: string;
  /** What a symbolic link points to, as it is written in the link. */
  target?: string;
}

/** What a source comes to, small enough to be handed between threads whatever the size of the source. */
export interface SourceSummary {
  kind: "file" | "directory";
  hash: string;
  fileCount: number;
  sizeBytes: number;
  top: SourceNode;
}

/** The hash of a source, from that of its root entry: a file and a folder, or a file and the same one made executable, differ. */
export function hashRoot(root: Pick<SourceEntry, "kind" | "executable" | "hash">): string {
  return createHash("sha256")
    .update(`kiln source 1\n${describeKind(root)} ${root.hash}\n`)
    .digest("hex");
}

/** A line per entry. A name cannot hold NUL, so no two folders write the same lines. */
export function hashFolder(entries: readonly { name: string; kind: string; hash: string }[]): string {
  const lines = entries.map(({ name, kind, hash }) => `${kind} ${hash} ${name}\0`);
  return createHash("sha256").update(lines.join("")).digest("hex");
}

function describeKind(entry: Pick<SourceEntry, "kind" | "executable">): string {
  return entry.executable ? "executable" : entry.kind;
}

/** A source whose entries have all been hashed: adds the folders' hashes, bottom up. */
export class MerkleTree {
  private readonly hashes: string[];
  private readonly batchEntries: number;

  constructor(
    private readonly walk: Walk,
    private readonly targets: ReadonlyMap<string, string>,
  ) {
    this.batchEntries = walk.batches[0]?.paths.length ?? 1;
    this.hashes = new Array<string>(walk.children.length);
    // A folder comes before its contents, so from the end every child is done before its folder.
    for (let index = this.hashes.length - 1; index >= 0; index--) {
      const { batch, at } = this.locate(index);
      const children = walk.children[index];
      this.hashes[index] = children === undefined ? batch.records.hashHex(at) : this.hashChildren(children);
    }
  }

  /** The whole in a few lines. */
  summarize(): SourceSummary {
    let fileCount = 0;
    let sizeBytes = 0;
    for (const { kinds, records } of this.walk.batches) {
      for (const [at, kind] of kinds.entries()) {
        if (kind !== entryKind.directory) fileCount++;
        if (kind === entryKind.file) sizeBytes += records.sizeBytes(at);
      }
    }
    const root = this.entry(0);
    const hash = hashRoot(root);
    const top = { ...this.describeTop(), hash: hash.slice(0, 12) };
    return { kind: root.kind === "directory" ? "directory" : "file", hash, fileCount, sizeBytes, top };
  }

  /** Entries `from` up to `to`, in the order of the walk. */
  list(from: number, to: number): SourceEntry[] {
    const entries: SourceEntry[] = [];
    for (let index = from; index < Math.min(to, this.hashes.length); index++) entries.push(this.entry(index));
    return entries;
  }

  private entry(index: number): SourceEntry {
    const { batch, at } = this.locate(index);
    const path = batch.paths[at] ?? "";
    const kind = batch.kinds[at];
    const entry: SourceEntry = {
      path,
      kind: kind === entryKind.directory ? "directory" : kind === entryKind.symlink ? "symlink" : "file",
      executable: this.isExecutable(index),
      mode: batch.records.mode(at) & 0o7777,
      mtimeMs: batch.records.mtimeMs(at),
      sizeBytes: kind === entryKind.file ? batch.records.sizeBytes(at) : 0,
      hash: this.hashes[index] ?? "",
    };
    const target = this.targets.get(path);
    if (target !== undefined) entry.target = target;
    return entry;
  }

  private hashChildren(children: readonly number[]): string {
    return hashFolder(
      children.map((child) => {
        const { batch, at } = this.locate(child);
        return {
          name: this.name(child),
          kind: this.kindLetter(child, batch.kinds[at]),
          hash: this.hashes[child] ?? "",
        };
      }),
    );
  }

  private kindLetter(index: number, kind: number | undefined): string {
    if (kind === entryKind.directory) return "d";
    if (kind === entryKind.symlink) return "l";
    return this.isExecutable(index) ? "x" : "f";
  }

  private describeTop(): SourceNode {
    const { children } = this.walk;
    const open = chooseOpenFolders([0], keptNodes, (index) => children[index]);
    const describe = (index: number): SourceNode => {
      const { batch, at } = this.locate(index);
      const suffix = { f: "", d: "", x: "+x", l: "+link" }[this.kindLetter(index, batch.kinds[at])] ?? "";
      const node = { name: this.name(index), hash: (this.hashes[index] ?? "").slice(0, 12) + suffix };
      if (children[index] === undefined) return { ...node, isFolder: false };
      return {
        ...node,
        isFolder: true,
        children: open.has(index) ? children[index].map(describe) : undefined,
      };
    };
    return describe(0);
  }

  private isExecutable(index: number): boolean {
    const { batch, at } = this.locate(index);
    return batch.kinds[at] === entryKind.file && (batch.records.mode(at) & 0o100) !== 0;
  }

  private name(index: number): string {
    const { batch, at } = this.locate(index);
    const path = batch.paths[at] ?? "";
    return path.slice(path.lastIndexOf("/") + 1);
  }

  /** All batches but the last are equally long. */
  private locate(index: number): { batch: EntryBatch; at: number } {
    const batch = this.walk.batches[Math.floor(index / this.batchEntries)];
    if (batch === undefined) throw new Error(`Looking up entry ${index} of a source: there is none`);
    return { batch, at: index % this.batchEntries };
  }
}
