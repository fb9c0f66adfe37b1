/** Questions to HAProxy and their answers. Behind the master process's socket stand several workers, after a reload also old ones. */
import { UnreachableError } from "./balancer";
import type { RuntimeTransport } from "./runtime-transport";

/** The processes behind a runtime API. */
export interface Workers {
  /** Prefix of a command to the one that takes new connections; "" where the API is its own. */
  current: string;
  /** Its process id; "" where that cannot be told. */
  id: string;
  /** Prefixes of those that only finish what they have. */
  leaving: string[];
  /** How many reloads have failed since the start. */
  failedReloads: number;
}

export class RuntimeApi {
  private prefix: string | undefined;

  constructor(private readonly transport: RuntimeTransport) {}

  get address(): string {
    return this.transport.address;
  }

  async listWorkers(signal: AbortSignal): Promise<Workers> {
    const answer = await this.transport.send("show proc", signal);
    // The socket of a single process does not know the question.
    return answer.startsWith("#<PID>")
      ? parseWorkers(answer)
      : { current: "", id: "", leaving: [], failedReloads: 0 };
  }

  /** The prefix of commands to the worker that takes new connections. */
  async findCurrent(signal: AbortSignal): Promise<string> {
    return (this.prefix ??= (await this.listWorkers(signal)).current);
  }

  /** One answer per command, in one call. */
  async ask(worker: string, commands: readonly string[], signal: AbortSignal): Promise<string[]> {
    const line = commands.map((command) => worker + command).join("; ");
    const text = await this.transport.send(line, signal);
    const answers = splitAnswers(text);
    if (answers.length < commands.length)
      throw new UnreachableError(
        `Asking HAProxy's runtime API at ${this.address} to ${commands.join("; ")}: the answer broke off after ${JSON.stringify(text.slice(-200))}`,
      );
    return answers;
  }

  /** The reply may be cut by the reload itself. */
  async reload(signal: AbortSignal): Promise<void> {
    await this.transport.send("reload", signal);
  }
}

/** Each answer ends with an empty line, but for some short ones at the end. A table that breaks off is none. */
export function splitAnswers(text: string): string[] {
  const answers: string[] = [];
  const lines: string[] = [];
  for (const line of text.split("\n").slice(0, -1)) {
    if (line !== "") lines.push(line);
    else answers.push(lines.splice(0).join("\n"));
  }
  if (lines.length === 1) answers.push(lines.join());
  return answers;
}

export function parseWorkers(answer: string): Workers {
  const workers: Workers = { current: "@1 ", id: "", leaving: [], failedReloads: 0 };
  let isOld = false;
  for (const line of answer.split("\n")) {
    if (line.startsWith("# ")) isOld = line.includes("old workers");
    const [pid = "", type] = line.trim().split(/\s+/);
    if (type === "master") workers.failedReloads = Number(/failed: (\d+)/.exec(line)?.[1] ?? 0);
    if (type !== "worker") continue;
    if (isOld) workers.leaving.push(`@!${pid} `);
    else workers.id = pid;
  }
  return workers;
}

/** The lines of a table with `# name name …` at its top, as maps. A separator of "," is that of `show stat`. */
export function parseTable(answer: string, separator: "," | " "): Record<string, string>[] {
  const lines = answer.split("\n");
  const top = lines.findIndex((line) => line.startsWith("# "));
  if (top < 0) return [];
  const names = (lines[top] ?? "").slice(2).split(separator);
  return lines.slice(top + 1).map((line) => {
    const cells = line.split(separator);
    return Object.fromEntries(names.map((name, index) => [name, cells[index] ?? ""]));
  });
}
