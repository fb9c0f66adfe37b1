import { spawn } from "node:child_process";
import { throwIfAborted } from "./retry";

export interface LocalCommand {
  argv: readonly [string, ...string[]];
  cwd: string;
  environment?: Record<string, string>;
  stdin?: string;
  signal: AbortSignal;
  onOutput: (chunk: Buffer) => void;
}

/** Runs a program on this machine, never through a shell of ours; kills it, and what it started, when the signal is aborted. */
export async function runLocal(command: LocalCommand): Promise<number> {
  const { argv, signal } = command;
  throwIfAborted(signal);
  const [program, ...args] = argv;
  // A process group of its own, so that an abort reaches the children of a script too.
  const child = spawn(program, args, {
    cwd: command.cwd,
    env: { ...process.env, ...command.environment },
    stdio: [command.stdin === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    detached: process.platform !== "win32",
  });
  const kill = (): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(process.platform === "win32" ? child.pid : -child.pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  };
  signal.addEventListener("abort", kill);
  child.stdout?.on("data", command.onOutput);
  child.stderr?.on("data", command.onOutput);
  child.stdin?.on("error", () => undefined); // a program that does not read its input is no failure
  child.stdin?.end(command.stdin);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.on("error", (error) =>
        reject(new Error(`running ${program}: ${error.message}`, { cause: error })),
      );
      child.on("close", (code, killedBy) =>
        code === null ? reject(new Error(`${program} was killed by ${killedBy}`)) : resolve(code),
      );
    });
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  } finally {
    signal.removeEventListener("abort", kill);
  }
}
