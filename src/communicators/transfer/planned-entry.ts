import type { SourceEntry } from "../../core/source-tree";

/** Names that a list with one name per line cannot hold go by their number, and get their name at the end. */
const ODD_NAME = /[\n\r\\]/;
/** What the owner must be allowed until everything is in its place. */
const STAGED_FILE_MODE = 0o600;
const STAGED_FOLDER_MODE = 0o700;

type Kind = SourceEntry["kind"];

/** One entry of what is sent. There may be many thousands, so it holds no more than it must. */
export class PlannedEntry {
  /** Its number among the entries with odd names. */
  oddNumber: number | undefined;
  /** If it is all there is. */
  content: Buffer | undefined;

  constructor(
    /** The source's real path. */
    private readonly root: string,
    /** Relative to the source; "" is the source itself. */
    private readonly path: string,
    readonly kind: Kind,
    readonly mode: number,
    readonly mtimeMs: number,
    /** Of a file; of all others 0. */
    readonly sizeBytes: number,
    /** SHA-256 in hex of a file's content; "" until it is known. */
    public hash: string,
    /** Of a symbolic link. */
    readonly target: string | undefined,
  ) {}

  get isOdd(): boolean {
    return this.oddNumber !== undefined;
  }

  get hasOddName(): boolean {
    return ODD_NAME.test(this.path);
  }

  /** Below the destination, as `./a/b`; a single file is `./file` until it gets its name. */
  get name(): string {
    return `./${this.path || "file"}`;
  }

  /** Where it is unpacked, below the folder for what has arrived. */
  get staged(): string {
    return this.isOdd ? `odd/${this.oddNumber}` : `new/${this.path || "file"}`;
  }

  /** The mode under which it is unpacked. */
  get stagedMode(): number {
    return this.mode | (this.kind === "directory" ? STAGED_FOLDER_MODE : STAGED_FILE_MODE);
  }

  /** The file on this machine; undefined if `content` is all there is. */
  get file(): string | undefined {
    if (this.content) return undefined;
    return this.path === "" ? this.root : `${this.root}/${this.path}`;
  }
}
