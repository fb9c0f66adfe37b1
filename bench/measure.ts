/** Rows of the table, and how a figure is made: medians of interleaved runs, since the machine's speed drifts. */
import { execFileSync, spawn } from "node:child_process";

/** One comparison: a figure of at most `goal` is good. */
export interface BenchRow {
  what: string;
  /** Milliseconds, unless `what` says otherwise. */
  ours: number;
  beside: number;
  /** What `goal` is about: `ours / beside`, unless `what` says otherwise. */
  figure: number;
  goal: number;
}

export const ROUNDS = 5;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return (
    ((sorted[Math.floor((sorted.length - 1) / 2)] ?? NaN) +
      (sorted[Math.ceil((sorted.length - 1) / 2)] ?? NaN)) /
    2
  );
}

/** Runs each of the candidates in turn, so that a busy moment of the machine meets all alike; medians in milliseconds. */
export async function interleave<Name extends string>(
  candidates: Record<Name, () => Promise<number>>,
  rounds = ROUNDS,
): Promise<Record<Name, number>> {
  const times = Object.fromEntries(Object.keys(candidates).map((name) => [name, [] as number[]])) as Record<
    Name,
    number[]
  >;
  for (let round = -1; round < rounds; round++) {
    for (const name of Object.keys(candidates) as Name[]) {
      settleDisk();
      const milliseconds = await candidates[name]();
      if (round >= 0) times[name].push(milliseconds); // the first round warms up
    }
  }
  return Object.fromEntries(
    Object.entries(times).map(([name, values]) => [name, median(values as number[])]),
  ) as Record<Name, number>;
}

/** What one has written or deleted must not be paid for by the next. */
function settleDisk(): void {
  if (process.platform !== "win32") execFileSync("sync");
}

/** Wall time of a whole process; its output is in the error if it fails. */
export function timeProcess(
  argv: readonly [string, ...string[]],
  cwd: string,
  environment: NodeJS.ProcessEnv = {},
): Promise<{ milliseconds: number; output: string }> {
  const [program, ...args] = argv;
  const startedAt = performance.now();
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve({ milliseconds: performance.now() - startedAt, output });
      else reject(new Error(`${argv.join(" ")} ended with ${code}:\n${output.slice(-2000)}`));
    });
  });
}
