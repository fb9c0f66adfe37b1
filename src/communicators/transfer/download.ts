import { randomBytes } from "node:crypto";
import { ConnectionLostError, describeError } from "../../core/errors";
import { formatVariables, READ_VARIABLES } from "../ssh-command";
import { formatBytes } from "../../core/size";
import { MissingProgramError, type Machine, type MachineProcess } from "./machine";
import { SEND_SCRIPT } from "./send-script";
import { downloadBySftp } from "./sftp-download";
import { fetchInto, type Place } from "./place";
import { unpackTar, type Unpacked } from "./unpack";

const MOST_TRIES = 4;
const PROGRESS_MS = 200;

export interface DownloadRequest extends Place {
  remote: string;
  signal: AbortSignal;
}

/** Fetches a file, or what is in a folder: verified, and put in place only when everything has come. */
export async function download(machine: Machine, request: DownloadRequest): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await fetchInto(request, (stage) => receive(machine, request, stage));
      return;
    } catch (error) {
      if (request.signal.aborted) throw error;
      const mayTryAgain =
        tries < MOST_TRIES && (error instanceof ConnectionLostError || error instanceof MismatchError);
      if (!mayTryAgain) {
        if (error instanceof ConnectionLostError) throw error;
        throw new Error(`Fetching ${request.remote} from ${machine.name}: ${describeError(error)}`, {
          cause: error,
        });
      }
      if (error instanceof ConnectionLostError) await machine.reconnect(request.signal);
    }
  }
}

class MismatchError extends Error {}

async function receive(machine: Machine, request: DownloadRequest, stage: string): Promise<Unpacked[]> {
  const { remote, folder, signal } = request;
  const nonce = randomBytes(6).toString("hex");
  const from = (remote.startsWith("/") ? remote : `./${remote}`).replace(/(?<=[^/])\/+$/, "");
  const slash = from.lastIndexOf("/");
  let process: MachineProcess;
  try {
    process = await machine.start(`${READ_VARIABLES}${SEND_SCRIPT}`, signal);
  } catch (error) {
    if (!(error instanceof MissingProgramError)) throw error;
    return downloadBySftp(machine, { from, folder, stage, signal }, error);
  }
  const report = new Report(process.stderr, nonce);
  const variables = {
    NONCE: nonce,
    KIND: folder ? "folder" : "file",
    FROM: from,
    DIR: from.slice(0, slash) || "/",
    NAME: from.slice(slash + 1),
  };
  await process.write(Buffer.from(formatVariables(variables, { export: false })));
  process.end();
  const unpacking = unpackTar(process.stdout, stage, {
    cut: process.exitCode,
    onBytes: showReceived(machine, remote),
  });
  unpacking.catch(() => process.stdout.resume()); // the script ends only when all is read
  const [unpacked, exit] = await Promise.allSettled([unpacking, process.exitCode]);
  if (exit.status === "rejected") throw exit.reason;
  if (report.missing !== undefined || !report.isReady) {
    if (report.failure !== undefined) throw new Error(report.describeFailure());
    return downloadBySftp(
      machine,
      { from, folder, stage, signal },
      new MissingProgramError(report.missing ?? "shell"),
    );
  }
  if (exit.value !== 0 || !report.isDone) throw new Error(report.describeFailure());
  if (unpacked.status === "rejected") throw unpacked.reason;
  requireSame(unpacked.value, report.sums);
  return unpacked.value;
}

function requireSame(found: readonly Unpacked[], sums: ReadonlyMap<string, string>): void {
  const files = found.filter(({ kind }) => kind === "file");
  const other = files.find(({ name, hash }) => sums.get(name.toString("latin1")) !== hash);
  if (other ?? (files.length === sums.size ? undefined : files[0]))
    throw new MismatchError(
      `${other ? other.name.toString() : "a file"} changed while it was read. Does something still write to it?`,
    );
}

function showReceived(machine: Machine, title: string): (count: number) => void {
  const startedAt = performance.now();
  let received = 0;
  let shownAt = startedAt;
  return (count) => {
    received += count;
    const now = performance.now();
    if (now - shownAt < PROGRESS_MS) return;
    shownAt = now;
    machine.showProgress(
      `${title}: ${formatBytes(received)}, ${formatBytes((received / (now - startedAt)) * 1000)}/s`,
    );
  };
}

/** What the script says beside the archive. */
class Report {
  readonly sums = new Map<string, string>();
  failure: string | undefined;
  missing: string | undefined;
  isReady = false;
  isDone = false;
  private rest = "";
  private readonly words: string[] = [];

  constructor(
    stream: NodeJS.ReadableStream,
    private readonly nonce: string,
  ) {
    stream.on("data", (chunk: Buffer) => {
      const lines = (this.rest + chunk.toString("latin1")).split("\n");
      this.rest = lines.pop() ?? "";
      for (const line of lines) this.readLine(line);
    });
  }

  describeFailure(): string {
    const words = [...new Set(this.words)].slice(-3).join("; ");
    return [this.failure ?? "the script on the machine ended too early", words].filter(Boolean).join(": ");
  }

  private readLine(line: string): void {
    const mark = `kiln-${this.nonce} `;
    if (!line.startsWith(mark)) {
      if (line !== "") this.words.push(Buffer.from(line, "latin1").toString());
      return;
    }
    const [, word, value = ""] = /^(\w+) ?(.*)$/s.exec(line.slice(mark.length)) ?? [];
    if (word === "sum") this.addSum(value);
    else if (word === "ready") this.isReady = true;
    else if (word === "done") this.isDone = true;
    else if (word === "failed") this.failure = value;
    else if (word === "lacks") this.missing = value;
  }

  private addSum(line: string): void {
    const [, escaped, hash, name] = /^(\\?)([0-9a-f]{64}) [ *](.*)$/s.exec(line) ?? [];
    if (hash === undefined || name === undefined) return;
    const plain = escaped
      ? name.replace(/\\(.)/g, (_, letter: string) => ({ n: "\n", r: "\r" })[letter] ?? letter)
      : name;
    this.sums.set(plain.replace(/^(\.\/+)+/, ""), hash);
  }
}
