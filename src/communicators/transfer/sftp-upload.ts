import { createHash } from "node:crypto";
import type { SFTPWrapper } from "ssh2";
import { ConnectionLostError, describeError } from "../../core/errors";
import { throwIfAborted } from "../../core/retry";
import type { Machine, MissingProgramError } from "./machine";
import { hashAll, type Plan } from "./plan";
import type { PlannedEntry } from "./planned-entry";
import { SftpSession } from "./sftp-session";
import type { UploadTarget } from "./target";

const MOST_TRIES = 3;

/**
 * For a machine without a shell, or without the programs that the script needs: everything by SFTP, many requests in
 * flight. There is nobody to hash what arrived, so it is read back.
 */
export async function uploadBySftp(
  machine: Machine,
  plan: Plan,
  target: UploadTarget,
  missing: MissingProgramError,
  signal: AbortSignal,
): Promise<void> {
  await hashAll(plan.files, signal);
  for (let tries = 1; ; tries++) {
    const session = await openSession(machine, missing, signal);
    try {
      return await sendAll(session, plan, target, signal);
    } catch (error) {
      throwIfAborted(signal);
      if (!session.isLost) throw error;
      if (tries >= MOST_TRIES) throw new ConnectionLostError(describeError(error), { cause: error });
      await machine.reconnect(signal);
    } finally {
      session.close();
    }
  }
}

async function openSession(
  machine: Machine,
  missing: MissingProgramError,
  signal: AbortSignal,
): Promise<SftpSession> {
  if (!machine.startSftp) throw missing;
  let sftp: SFTPWrapper;
  try {
    sftp = await machine.startSftp(signal);
  } catch (error) {
    if (error instanceof ConnectionLostError) throw error;
    throw new Error(
      `${missing.message}, and no SFTP: ${describeError(error)}. Install ${missing.program} there`,
      { cause: error },
    );
  }
  return new SftpSession(sftp, signal);
}

async function sendAll(
  session: SftpSession,
  plan: Plan,
  target: UploadTarget,
  signal: AbortSignal,
): Promise<void> {
  const there = await session.stat(target.DEST);
  if (plan.isFolder && there && !there.isDirectory()) throw new Error("it is there, and no folder");
  if (!plan.isFolder && there?.isDirectory()) throw new Error("it is a folder. Let the destination end in /");
  const merge = plan.isFolder && there !== undefined;
  await session.makeFolders(merge ? target.DEST : target.DIR);
  const stage = `${merge ? target.DEST : target.DIR}/${target.STAGE}`;
  const staged = (entry: PlannedEntry): string => `${stage}/new/${entry.name.slice(2)}`;
  await session.removeTree(stage);
  await session.makeFolder(stage, 0o700);
  try {
    await session.makeFolder(`${stage}/new`, 0o755);
    for (const level of groupByDepth(plan.entries)) {
      await session.forEach(level, async (entry) => {
        if (entry.kind === "directory") await session.makeFolder(staged(entry), entry.stagedMode);
        else if (entry.kind === "symlink") await session.makeLink(entry.target ?? "", staged(entry));
        else await sendFile(session, entry, staged(entry));
      });
      throwIfAborted(signal);
    }
    if (!plan.isFolder) await session.replace(`${stage}/new/file`, target.DEST);
    else {
      const place = (name: string): string => `${target.DEST}/${name.slice(2)}`;
      if (merge) await mergeStaged(session, plan, staged, place);
      else await session.replace(`${stage}/new`, target.DEST);
      await restoreModes(session, plan, place);
    }
  } finally {
    if (!session.isLost) await session.removeTree(stage);
  }
}

async function sendFile(session: SftpSession, entry: PlannedEntry, path: string): Promise<void> {
  await session.writeFile(path, entry, entry.stagedMode);
  const hash = createHash("sha256");
  await session.readFile(path, (chunk) => hash.update(chunk));
  if (hash.digest("hex") !== entry.hash)
    throw new Error(`what arrived of ${entry.name} is not what was listed. Does something write to it?`);
}

/** Nothing is moved before it is known that everything can be. */
async function mergeStaged(
  session: SftpSession,
  plan: Plan,
  staged: (entry: PlannedEntry) => string,
  place: (name: string) => string,
): Promise<void> {
  const missing = new Set<string>();
  await session.forEach(plan.entries, async (entry) => {
    const there = await (entry.kind === "directory"
      ? session.stat(place(entry.name))
      : session.lstat(place(entry.name)));
    if (there && there.isDirectory() !== (entry.kind === "directory"))
      throw new Error(`${entry.name} is there, and ${there.isDirectory() ? "a" : "no"} folder`);
    if (!there) missing.add(entry.name);
  });
  for (const level of groupByDepth(plan.entries))
    await session.forEach(level, async (entry) => {
      if (entry.kind !== "directory") await session.replace(staged(entry), place(entry.name));
      else if (missing.has(entry.name)) await session.makeFolder(place(entry.name), entry.stagedMode);
    });
}

async function restoreModes(
  session: SftpSession,
  plan: Plan,
  place: (name: string) => string,
): Promise<void> {
  for (const entry of [...plan.entries].reverse())
    if (entry.kind !== "symlink" && entry.stagedMode !== entry.mode)
      await session.setMode(place(entry.name), entry.mode);
}

function groupByDepth(entries: readonly PlannedEntry[]): PlannedEntry[][] {
  const levels: PlannedEntry[][] = [];
  for (const entry of entries) (levels[entry.name.split("/").length] ??= []).push(entry);
  return levels.filter(Boolean);
}
