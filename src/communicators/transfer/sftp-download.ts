import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import { ConnectionLostError, describeError } from "../../core/errors";
import { throwIfAborted } from "../../core/retry";
import type { Machine, MissingProgramError } from "./machine";
import { SftpSession } from "./sftp-session";
import { joinBytes, type Unpacked } from "./unpack";

interface Fetch {
  from: string;
  folder: boolean;
  stage: string;
  signal: AbortSignal;
}

/** For a machine without a shell. Nobody there can hash: a file that is as long and as old after as before did not change. */
export async function downloadBySftp(
  machine: Machine,
  { from, folder, stage, signal }: Fetch,
  missing: MissingProgramError,
): Promise<Unpacked[]> {
  if (!machine.startSftp) throw missing;
  const session = new SftpSession(await machine.startSftp(signal), signal);
  const found: Unpacked[] = [];
  try {
    const stats = await session.stat(from);
    if (!stats) throw new Error("there is nothing");
    if (stats.isDirectory() !== folder)
      throw new Error(folder ? "it is no folder" : "it is a folder. Let the source end in /");
    if (folder) await fetchFolder(session, from, "", stage, found);
    else await fetchFile(session, from, "file", stage, found);
    return found;
  } catch (error) {
    throwIfAborted(signal);
    if (session.isLost) throw new ConnectionLostError(describeError(error), { cause: error });
    throw error;
  } finally {
    session.close();
  }
}

async function fetchFolder(
  session: SftpSession,
  from: string,
  below: string,
  stage: string,
  found: Unpacked[],
): Promise<void> {
  const entries = await session.list(from);
  await session.forEach(entries, async ({ name, isFolder, isLink, attributes }) => {
    const inner = below === "" ? name : `${below}/${name}`;
    const path = `${from}/${name}`;
    const bytes = Buffer.from(inner);
    const base = { name: bytes, mode: attributes.mode & 0o7777, mtime: new Date(attributes.mtime * 1000) };
    if (isFolder) {
      await fs.mkdir(joinBytes(stage, bytes), { mode: 0o700 });
      found.push({ ...base, kind: "directory" });
      await fetchFolder(session, path, inner, stage, found);
    } else if (isLink) {
      const target = Buffer.from(await session.readLink(path));
      await fs.symlink(target, joinBytes(stage, bytes));
      found.push({ ...base, kind: "symlink", target });
    } else if (attributes.isFile()) await fetchFile(session, path, inner, stage, found);
  });
}

async function fetchFile(
  session: SftpSession,
  from: string,
  name: string,
  stage: string,
  found: Unpacked[],
): Promise<void> {
  const before = await session.stat(from);
  const bytes = Buffer.from(name);
  const file = await fs.open(joinBytes(stage, bytes), "wx", 0o600);
  const hash = createHash("sha256");
  let received = 0;
  try {
    await session.readFile(from, async (chunk) => {
      hash.update(chunk);
      received += chunk.length;
      await file.write(chunk);
    });
  } finally {
    await file.close();
  }
  const after = await session.stat(from);
  if (!before || !after || after.size !== received || after.mtime !== before.mtime)
    throw new Error(`${name} changed while it was read. Does something still write to it?`);
  const mtime = new Date(after.mtime * 1000);
  found.push({ kind: "file", name: bytes, mode: after.mode & 0o7777, mtime, hash: hash.digest("hex") });
}
