import { open } from "node:fs/promises";
import type { InputAttributes, SFTPWrapper, Stats } from "ssh2";
import { throwIfAborted } from "../../core/retry";
import type { PlannedEntry } from "./planned-entry";

/** Files at once, and requests at once for each: what hides the round trips. */
const MOST_FILES = 64;
const MOST_REQUESTS = 32;
const REQUEST_BYTES = 32 * 1024;
const NO_SUCH_FILE = 2;

type Done<T> = (error: Error | null | undefined, value: T) => void;

/** The operations of one SFTP channel, as promises that also end when the channel does. */
export class SftpSession {
  isLost = false;
  constructor(
    private readonly sftp: SFTPWrapper,
    private readonly signal: AbortSignal,
  ) {
    const abort = (): void => this.close();
    signal.addEventListener("abort", abort);
    sftp.once("close", () => {
      this.isLost = true; // requests without an answer end now
      signal.removeEventListener("abort", abort);
    });
    sftp.on("error", () => undefined); // "close" follows
  }

  close(): void {
    this.sftp.end();
  }

  /** Runs `work` for each, many at once; the first failure ends all. */
  async forEach<T>(items: readonly T[], work: (item: T) => Promise<void>, most = MOST_FILES): Promise<void> {
    let next = 0;
    let hasFailed = false;
    const run = async (): Promise<void> => {
      while (next < items.length && !hasFailed) {
        throwIfAborted(this.signal);
        try {
          await work(items[next++] as T);
        } catch (error) {
          hasFailed = true;
          throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(most, items.length) }, run));
  }

  /** What is there, links followed; undefined if nothing is. */
  stat(path: string): Promise<Stats | undefined> {
    return this.find((done) => this.sftp.stat(path, done));
  }

  lstat(path: string): Promise<Stats | undefined> {
    return this.find((done) => this.sftp.lstat(path, done));
  }

  list(path: string): Promise<{ name: string; isFolder: boolean; isLink: boolean; attributes: Stats }[]> {
    return this.ask<Parameters<Parameters<SFTPWrapper["readdir"]>[1]>[1]>(`listing ${path}`, (done) =>
      this.sftp.readdir(path, done),
    ).then((entries) =>
      entries.map(({ filename, attrs }) => ({
        name: filename,
        isFolder: attrs.isDirectory(),
        isLink: attrs.isSymbolicLink(),
        attributes: attrs,
      })),
    );
  }

  readLink(path: string): Promise<string> {
    return this.ask(`reading the link ${path}`, (done) => this.sftp.readlink(path, done));
  }

  /** The mode is set afterwards, since the server's mask cuts what is asked for. */
  async makeFolder(path: string, mode: number): Promise<void> {
    await this.ask(`making the folder ${path}`, (done) => this.sftp.mkdir(path, done as never));
    await this.setMode(path, mode);
  }

  /** With what is missing on the way. */
  async makeFolders(path: string): Promise<void> {
    if (path === "" || path === "/" || path === "." || (await this.stat(path))) return;
    await this.makeFolders(path.slice(0, Math.max(path.lastIndexOf("/"), 0)));
    await this.ask(`making the folder ${path}`, (done) => this.sftp.mkdir(path, done as never));
  }

  makeLink(target: string, path: string): Promise<void> {
    return this.ask(`making the link ${path}`, (done) => this.sftp.symlink(target, path, done as never));
  }

  setMode(path: string, mode: number): Promise<void> {
    return this.ask(`changing the mode of ${path}`, (done) => this.sftp.chmod(path, mode, done as never));
  }

  /** Renames over what is there. */
  async replace(from: string, to: string): Promise<void> {
    try {
      await this.ask(`putting ${to} in place`, (done) =>
        this.sftp.ext_openssh_rename(from, to, done as never),
      );
    } catch (error) {
      if (!/extended request/i.test((error as Error).message)) throw error;
      if (await this.lstat(to))
        await this.ask(`removing ${to}`, (done) => this.sftp.unlink(to, done as never));
      await this.ask(`putting ${to} in place`, (done) => this.sftp.rename(from, to, done as never));
    }
  }

  async removeTree(path: string): Promise<void> {
    const there = await this.lstat(path);
    if (!there) return;
    if (!there.isDirectory())
      return this.ask(`removing ${path}`, (done) => this.sftp.unlink(path, done as never));
    await this.forEach(await this.list(path), ({ name }) => this.removeTree(`${path}/${name}`));
    await this.ask(`removing ${path}`, (done) => this.sftp.rmdir(path, done as never));
  }

  /** Sends a file, many pieces of it at once. */
  async writeFile(path: string, entry: PlannedEntry, mode: number): Promise<void> {
    const handle = await this.ask<Buffer>(`writing ${path}`, (done) =>
      this.sftp.open(path, "w", { mode }, done),
    );
    const file = entry.content ? undefined : await open(entry.file as string, "r");
    try {
      await this.forEach(
        listRanges(entry.sizeBytes),
        async ({ at, length }) => {
          const bytes = entry.content?.subarray(at, at + length) ?? Buffer.allocUnsafe(length);
          const read = file ? (await file.read(bytes, 0, length, at)).bytesRead : length;
          // A shorter file is found out by its hash.
          if (read > 0)
            await this.ask(`writing ${path}`, (done) =>
              this.sftp.write(handle, bytes, 0, read, at, done as never),
            );
        },
        MOST_REQUESTS,
      );
      const attributes: InputAttributes = { mode, mtime: entry.mtimeMs / 1000, atime: entry.mtimeMs / 1000 };
      await this.ask(`writing ${path}`, (done) => this.sftp.fsetstat(handle, attributes, done as never));
    } finally {
      await file?.close();
      if (!this.isLost) await this.ask(`writing ${path}`, (done) => this.sftp.close(handle, done as never));
    }
  }

  /** Hands over a file's content in order, some pieces asked for ahead. */
  async readFile(path: string, onChunk: (chunk: Buffer) => unknown): Promise<void> {
    const handle = await this.ask<Buffer>(`reading ${path}`, (done) => this.sftp.open(path, "r", done));
    try {
      const { size } = await this.ask<Stats>(`reading ${path}`, (done) => this.sftp.fstat(handle, done));
      const ranges = listRanges(size);
      const pending: Promise<Buffer>[] = [];
      for (let index = 0; index < ranges.length || pending.length > 0;) {
        while (pending.length < MOST_REQUESTS && index < ranges.length) {
          const { at, length } = ranges[index++] as { at: number; length: number };
          const piece = this.readRange(path, handle, at, length);
          piece.catch(() => undefined); // the one whose turn it is tells
          pending.push(piece);
        }
        await onChunk(await (pending.shift() as Promise<Buffer>));
      }
    } finally {
      if (!this.isLost) await this.ask(`reading ${path}`, (done) => this.sftp.close(handle, done as never));
    }
  }

  private async readRange(path: string, handle: Buffer, at: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length);
    for (let filled = 0; filled < length;) {
      const count = await this.ask<number>(`reading ${path}`, (done) =>
        this.sftp.read(handle, bytes, filled, length - filled, at + filled, done),
      );
      if (count === 0) throw new Error(`reading ${path}: it became shorter meanwhile`);
      filled += count;
    }
    return bytes;
  }

  private async find(send: (done: Done<Stats>) => void): Promise<Stats | undefined> {
    try {
      return await this.ask("looking", send);
    } catch (error) {
      if (((error as Error).cause as { code?: number } | undefined)?.code === NO_SUCH_FILE) return undefined;
      throw error;
    }
  }

  private ask<T>(what: string, send: (done: Done<T>) => void): Promise<T> {
    throwIfAborted(this.signal);
    return new Promise<T>((resolve, reject) => {
      if (this.isLost) return reject(new Error(`${what}: the machine ended the SFTP session`));
      send((error, value) =>
        error ? reject(new Error(`${what}: ${error.message}`, { cause: error })) : resolve(value),
      );
    });
  }
}

function listRanges(sizeBytes: number): { at: number; length: number }[] {
  return Array.from({ length: Math.ceil(sizeBytes / REQUEST_BYTES) }, (_, index) => ({
    at: index * REQUEST_BYTES,
    length: Math.min(REQUEST_BYTES, sizeBytes - index * REQUEST_BYTES),
  }));
}
