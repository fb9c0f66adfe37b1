/**
 * Saved machines: `objects/<id>/` holds a machine's disk, an overlay on that of the object before it, with its memory and all
 * that belongs to it (its key pair, its media), and `marks/<key>/<resource>-<build>` says which object a stage's key means.
 * What no mark leads to, and no build that lives, goes.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { readCacheFile, writeCacheFile } from "../../core/cache-file";
import { cacheFolder } from "../../core/folders";
import { identifyProcess, isDead, listKeptBuilds, type ProcessIdentity } from "../../core/journal";
import { parseStageMark, formatStageMark, type StageMark } from "../../core/stage-claims";
import { writeWholeFile } from "../../core/whole-file";
import type { Disk } from "./driver";
import { listFolder } from "./list-folder";
import type { Login } from "./machine-login";

/** What stays of a machine beside disk and memory. */
export interface ObjectRecord {
  /** The object that its disk stands on. */
  below?: string;
  /** The disk that the first one stands on, as it was then; none for an installer's. */
  source?: Disk & FileState;
  /** Who makes it. */
  builder: ProcessIdentity;
  login?: Login;
  /** Saved: what its disk was then. */
  disk?: FileState;
}

interface FileState {
  sizeBytes: number;
  changedMs: number;
}

const RECORD = "machine.json";

export class StageStore {
  private readonly root = path.join(cacheFolder(), "qemu");

  /** Of one object; it may not exist. */
  folderOf(id: string): string {
    return path.join(this.root, "objects", id);
  }

  fileOf(id: string, name: "disk.qcow2" | "memory" | "variables.fd" | (string & {})): string {
    return path.join(this.folderOf(id), name);
  }

  diskOf(id: string): Disk {
    return { path: this.fileOf(id, "disk.qcow2"), format: "qcow2" };
  }

  /** Noted before there is a disk, so that what it will stand on stays. */
  create(id: string, on: { below?: string; source?: Disk }): void {
    fs.mkdirSync(this.folderOf(id), { recursive: true, mode: 0o700 });
    const state = on.source && stateOf(on.source.path);
    const source = on.source && state && { ...on.source, ...state };
    this.write(id, { below: on.below, source, builder: identifyProcess() });
  }

  read(id: string): ObjectRecord | undefined {
    return readCacheFile<ObjectRecord>(this.fileOf(id, RECORD));
  }

  write(id: string, record: ObjectRecord): void {
    writeCacheFile(this.fileOf(id, RECORD), record);
  }

  /** Notes that it is whole: from now on it may be marked. */
  seal(id: string, login: ObjectRecord["login"]): void {
    const record = this.read(id);
    if (record) this.write(id, { ...record, login, disk: stateOf(this.diskOf(id).path) });
  }

  /** Whether all disks on the way down are what they were when it was saved: another one would be loaded without a word. */
  isIntact(id: string): boolean {
    for (let at: string | undefined = id; at !== undefined;) {
      const record = this.read(at);
      if (!record?.disk || !isSame(record.disk, this.diskOf(at).path)) return false;
      if (record.source && !isSame(record.source, record.source.path)) return false;
      at = record.below;
    }
    return fs.existsSync(this.fileOf(id, "memory"));
  }

  mark(key: string, owner: string, id: string, object: string): void {
    writeWholeFile(path.join(this.root, "marks", key, formatStageMark(owner, id)), object);
  }

  listMarks(): StageMark[] {
    return listFolder(path.join(this.root, "marks")).flatMap((key) =>
      listFolder(path.join(this.root, "marks", key)).flatMap((name) => this.readMark(key, name) ?? []),
    );
  }

  private readMark(key: string, name: string): StageMark | undefined {
    const mark = parseStageMark(name);
    const file = path.join(this.root, "marks", key, name);
    const stats = fs.statSync(file, { throwIfNoEntry: false });
    if (!mark || !stats) return undefined;
    const stageId = fs.readFileSync(file, "utf8");
    return { key, ...mark, stageId, ownBytes: this.measure(stageId), createdMs: stats.mtimeMs };
  }

  /** What it takes on the disk. */
  measure(id: string): number {
    return listFolder(this.folderOf(id)).reduce((bytes, name) => {
      const stats = fs.statSync(this.fileOf(id, name), { throwIfNoEntry: false });
      return bytes + (stats?.blocks ?? 0) * 512;
    }, 0);
  }

  dropMark({ key, owner, id }: Pick<StageMark, "key" | "owner" | "id">): void {
    const folder = path.join(this.root, "marks", key);
    fs.rmSync(path.join(folder, formatStageMark(owner, id)), { force: true });
    if (listFolder(folder).length === 0) fs.rmSync(folder, { recursive: true, force: true });
  }

  /** Removes the objects that nothing leads to. `released`: of this process, but needed no more. */
  collect(released: readonly string[] = []): void {
    const needed = new Set<string>();
    const objects = listFolder(path.join(this.root, "objects"));
    const kept = listKeptBuilds();
    const isKept = (id: string): boolean => kept.some((buildId) => id.startsWith(`${buildId}-`));
    const wanted = [
      ...this.listMarks().map((mark) => mark.stageId),
      ...objects.filter((id) => isKept(id) || (!released.includes(id) && this.isBeingMade(id))),
    ];
    for (const start of wanted)
      for (let id: string | undefined = start; id !== undefined && !needed.has(id);) {
        needed.add(id);
        id = this.read(id)?.below;
      }
    for (const id of objects)
      if (!needed.has(id)) fs.rmSync(this.folderOf(id), { recursive: true, force: true });
  }

  private isBeingMade(id: string): boolean {
    const record = this.read(id);
    return record !== undefined && record.disk === undefined && !isDead(record.builder);
  }

  /** Files outside of here that a saved machine, or one in the making, stands on. */
  listSources(): string[] {
    return listFolder(path.join(this.root, "objects")).flatMap((id) => this.read(id)?.source?.path ?? []);
  }
}

function isSame(then: FileState, file: string): boolean {
  const now = stateOf(file);
  return now?.sizeBytes === then.sizeBytes && now.changedMs === then.changedMs;
}

function stateOf(file: string): FileState | undefined {
  const stats = fs.statSync(file, { throwIfNoEntry: false });
  return stats && { sizeBytes: stats.size, changedMs: stats.mtimeMs };
}
