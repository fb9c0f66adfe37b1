import * as fs from "node:fs";
import * as path from "node:path";
import { ConnectionLostError, describeError, TimeoutError } from "../../core/errors";
import type { LocalSource } from "../../core/model";
import { listSource } from "../../core/source-tree";
import { formatVariables, READ_VARIABLES } from "../ssh-command";
import { streamArchive } from "./archive-stream";
import { ChangedFileError } from "./changed-file";
import { chooseItems, itemBytes } from "./choose-items";
import { chooseForm, compress, SlowLinkError, watchLink } from "./link";
import { MissingProgramError, type Machine } from "./machine";
import { chooseHashProgram, formatManifest, manifestLineBytes, type HashProgram } from "./manifest";
import { formatMode, formatModes, groupByMode, hashAll, hashFiles, planUpload, type Plan } from "./plan";
import { Reception, ReceptionError, type Answer } from "./reception";
import { CLEAN_SCRIPT } from "./receive-script";
import { uploadBySftp } from "./sftp-upload";
import type { PlannedEntry } from "./planned-entry";
import { describeTarget, type UploadTarget } from "./target";

/** What is smaller is sent again sooner than the machine is asked whether it has it. */
const WORTH_ASKING_BYTES = 256 * 1024;
const BYTES_PER_ENTRY = 600;
const MOST_TRIES = 6;
const CLEAN_MS = 10_000;

export interface UploadRequest {
  local: LocalSource;
  /** The path in the machine; a folder's ends in "/". */
  remote: string;
  /** The program's folder. */
  cwd: string;
  signal: AbortSignal;
}

/** Sends a file or a folder: verified on the other side, put in place as a whole, resumed if the connection breaks. */
export async function upload(machine: Machine, request: UploadRequest): Promise<void> {
  const { local, remote, signal } = request;
  try {
    await planAndSend(machine, request);
  } catch (error) {
    if (error instanceof ConnectionLostError || signal.aborted) throw error;
    const title = "content" in local ? "a text" : local.path;
    const attempt = `Sending ${title} to ${remote} on ${machine.name}`;
    throw new Error(`${attempt}: ${describeError(error)}${advise(error)}`, { cause: error });
  }
}

async function planAndSend(machine: Machine, request: UploadRequest): Promise<void> {
  const { local, remote, cwd, signal } = request;
  const isFolder = !("content" in local) && fs.statSync(path.resolve(cwd, local.path)).isDirectory();
  const target = describeTarget(isFolder, remote);
  // The machine gets ready while the source is read here.
  const first = Reception.start(machine, target, { tries: 1, signal });
  first.catch(() => undefined); // it is awaited below, unless there is nothing to send
  let plan: Plan;
  try {
    plan = await planUpload(local, cwd, signal);
    if (plan.isFolder !== isFolder) throw new ChangedFileError(plan.title);
  } catch (error) {
    await first.then(
      (reception) => reception.giveUp(),
      () => undefined,
    );
    if (isMachineKept(signal)) await cleanUp(machine, target);
    throw error;
  }
  await sendUntilDone(machine, plan, target, request, first);
}

async function sendUntilDone(
  machine: Machine,
  plan: Plan,
  target: UploadTarget,
  request: UploadRequest,
  first: Promise<Reception>,
): Promise<void> {
  const { signal } = request;
  let wasDamaged = false;
  for (let tries = 1; ; tries++) {
    try {
      const resume = tries > 1;
      const reception = await (resume ? Reception.start(machine, target, { tries, signal }) : first);
      await sendOnce(machine, reception, plan, { resume, isDoubted: wasDamaged, signal });
      return;
    } catch (error) {
      if (signal.aborted) {
        if (isMachineKept(signal)) await cleanUp(machine, target);
        throw error;
      }
      if (error instanceof MissingProgramError) return uploadBySftp(machine, plan, target, error, signal);
      if (error instanceof SlowLinkError) continue;
      if (error instanceof ConnectionLostError && tries < MOST_TRIES) {
        machine.showProgress(`${error.message}; going on from there`);
        await machine.reconnect(signal);
        continue;
      }
      if (error instanceof ReceptionError && error.damaged.length > 0 && !wasDamaged) {
        wasDamaged = true;
        await cleanUp(machine, target);
        await requireUnchanged(plan, request);
        continue;
      }
      if (!(error instanceof ConnectionLostError)) await cleanUp(machine, target);
      throw error;
    }
  }
}

async function sendOnce(
  machine: Machine,
  reception: Reception,
  plan: Plan,
  { resume, isDoubted, signal }: { resume: boolean; isDoubted: boolean; signal: AbortSignal },
): Promise<void> {
  try {
    const isThere = await reception.readGreeting();
    if (isThere === undefined) return await reception.finish();
    const isWorthAsking =
      isThere && plan.sizeBytes + plan.entries.length * BYTES_PER_ENTRY > WORTH_ASKING_BYTES;
    const isAsked = resume || isWorthAsking;
    const isStreamed = isAsked && areMostlyOpen(plan.files);
    const program = chooseHashProgram(reception.programs, { ...plan, isStreamed, isDoubted });
    if (!program) throw new MissingProgramError("sha256sum");
    const answer = isAsked ? await ask(reception, plan, program, signal) : undefined;
    if (answer?.isDone) return await reception.finish();
    if (!answer && !(await reception.introduce({ ...NOTHING_ASKED, HASH: program })))
      return await reception.finish();
    const { items, checkCount, fileCount } = await chooseItems(plan, answer, {
      program,
      isFirstTry: !resume,
    });
    const totalBytes = items.reduce((sum, item) => sum + itemBytes(item), 0);
    const canGunzip = reception.programs.has("gzip");
    const form = canGunzip ? chooseForm(machine.linkRate, totalBytes) : "tar";
    const early = { EARLY: checkCount > 0 ? String(checkCount) : "", FILES: String(fileCount) };
    if (!(await reception.introduce({ FORM: form, ...early }))) return await reception.finish();
    const archive = watchLink(machine, streamArchive(items), {
      title: plan.title,
      totalBytes,
      mayGiveUp: form === "tar" && canGunzip,
    });
    for await (const chunk of form === "gzip" ? compress(archive) : archive)
      if (!(await reception.write(chunk))) break;
    await reception.finish();
  } catch (error) {
    // What has arrived stays for the next try, which must not begin while this one's script still writes.
    await reception.giveUp();
    throw error;
  }
}

/** Most of the files have yet to be hashed here. */
function areMostlyOpen(files: readonly PlannedEntry[]): boolean {
  return files.filter(({ hash }) => hash === "").length > files.length / 2;
}

const NOTHING_ASKED = { ASK: "", MODES: "", WANT: "", MODE: "" };

/** Sends the list of what is to come, and reads what of it the machine lacks. */
async function ask(
  reception: Reception,
  plan: Plan,
  program: HashProgram,
  signal: AbortSignal,
): Promise<Answer> {
  const asked = groupByMode(plan.files);
  const only = plan.isFolder ? undefined : plan.files[0];
  if (only) await hashAll([only], signal);
  await reception.introduce({
    ASK: String(asked.reduce((bytes, entry) => bytes + manifestLineBytes(entry), 0)),
    MODES: formatModes(asked),
    WANT: only?.hash ?? "",
    MODE: only ? formatMode(only.mode) : "",
    HASH: program,
  });
  // The machine hashes what it has while we hash what we have.
  for await (const hashed of hashFiles(asked, signal))
    if (!(await reception.write(Buffer.from(formatManifest(hashed, program))))) break;
  return reception.readAnswer(asked);
}

/** What arrived differs from what was listed: did it change here meanwhile? */
async function requireUnchanged(plan: Plan, { local, cwd, signal }: UploadRequest): Promise<void> {
  if ("content" in local) return;
  const now = new Map((await listSource(local, { cwd, signal })).map(({ path, hash }) => [path, hash]));
  const changed = plan.files.find(({ name, hash }) => now.get(plan.isFolder ? name.slice(2) : "") !== hash);
  if (changed) throw new ChangedFileError(changed.file ?? changed.name);
}

/** A step that is tried again must find a clean machine; one that is cancelled has no machine any more. */
function isMachineKept({ aborted, reason }: AbortSignal): boolean {
  return !aborted || reason instanceof TimeoutError;
}

/** Removes what was not put in place; on a machine that cannot be reached nothing can be, and its build fails anyway. */
async function cleanUp(machine: Machine, target: UploadTarget): Promise<void> {
  try {
    const process = await machine.start(`${READ_VARIABLES}\n${CLEAN_SCRIPT}`, AbortSignal.timeout(CLEAN_MS));
    process.stdout.resume();
    process.stderr.resume();
    await process.write(Buffer.from(formatVariables({ ...target }, { export: false })));
    process.end();
    await process.exitCode;
  } catch (error) {
    machine.showProgress(`removing ${target.STAGE} from the machine failed: ${describeError(error)}`);
  }
}

function advise(error: unknown): string {
  const text = describeError(error);
  if (/permission denied|operation not permitted/i.test(text))
    return ". Send it to where the user may write, and move it with sudo in a shell step";
  if (/no space left|wrote only|disk quota|file too large/i.test(text))
    return ". Make the machine's disk larger, or send less";
  return "";
}
