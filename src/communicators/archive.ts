/** Folders as one tar stream: one call sends everything, whatever carries it. */
import type { SourceEntry } from "../core/source-tree";
import { ChangedFileError } from "./transfer/changed-file";
import { TransferProgress } from "./transfer/progress";
import { measureTar, streamTar, type TarItem } from "./transfer/tar-stream";

export interface ArchiveOwner {
  uid: number;
  gid: number;
}

/** Who is told how far the stream is. */
export interface ArchiveProgress {
  title: string;
  show: (text: string) => void;
}

export interface ArchiveTarget {
  /** Folders that the other side lacks, from the outermost, relative to where the archive is unpacked. */
  newFolders: readonly string[];
  /** Where the content goes, relative to where the archive is unpacked: a file's path, or a folder's ("" for itself). */
  path: string;
  owner: ArchiveOwner;
}

/** What is sent; nothing is read before it is streamed, and it can be streamed again. */
export class Archive {
  private sizeBytes: number | undefined;

  constructor(
    private readonly items: readonly TarItem[],
    private readonly progress?: ArchiveProgress,
  ) {}

  /** Files, links and folders. */
  get count(): number {
    return this.items.length;
  }

  /** Of the archive itself. */
  measureBytes(): number {
    return (this.sizeBytes ??= measureTar(this.items));
  }

  /** Below where it is unpacked. */
  get names(): string[] {
    return this.items.map(({ name }) => name);
  }

  /** In pieces, each of which is overwritten when the next is asked for. */
  async *stream(): AsyncGenerator<Buffer> {
    const { title = "", show = () => undefined } = this.progress ?? {};
    const progress = new TransferProgress(title, this.measureBytes(), show);
    for await (const chunk of streamTar(this.items)) {
      yield chunk;
      progress.add(chunk.length);
    }
    show(`${title}: sent, and being unpacked`);
  }
}

/** An archive of one file made here. */
export function packContent(content: Buffer, mode: number, target: ArchiveTarget): Archive {
  const { path: name, owner } = target;
  const file = { name, mode, mtimeMs: Date.now(), sizeBytes: content.length, owner };
  return new Archive([...listFolders(target), { ...file, kind: "file", content }]);
}

/** An archive of what `listSource` found below `root`. What is read is compared with what it hashed. */
export function packEntries(
  entries: readonly SourceEntry[],
  root: string,
  target: ArchiveTarget,
  progress?: ArchiveProgress,
): Archive {
  const items = entries.flatMap((entry) => describeEntry(entry, root, target) ?? []);
  return new Archive([...listFolders(target), ...items], progress);
}

function listFolders({ newFolders, owner }: ArchiveTarget): TarItem[] {
  return newFolders.map((name) => ({
    name,
    kind: "directory",
    mode: 0o755,
    mtimeMs: Date.now(),
    owner,
  }));
}

function describeEntry(entry: SourceEntry, root: string, target: ArchiveTarget): TarItem | undefined {
  const { kind, mode, mtimeMs, sizeBytes, hash } = entry;
  const name = [target.path, entry.path].filter((part) => part !== "").join("/");
  // A folder that is there already keeps its mode; one that is not is among the new ones.
  if (entry.path === "" && kind === "directory") return undefined;
  const { owner } = target;
  if (kind === "symlink") return { name, kind, mode, mtimeMs, owner, target: entry.target ?? "" };
  if (kind === "directory") return { name, kind, mode, mtimeMs, owner };
  const file = entry.path === "" ? root : `${root}/${entry.path}`;
  return {
    name,
    kind,
    mode,
    mtimeMs,
    owner,
    sizeBytes,
    file,
    onHash(read) {
      if (read !== hash) throw new ChangedFileError(file);
    },
  };
}
