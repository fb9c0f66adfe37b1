/** The one way in which the tools start other programs: a list of arguments, never a shell. */
import { spawn } from "node:child_process";
import { accessSync, constants, openSync, closeSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";

const keptLines = 15;

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd]
 * @property {NodeJS.ProcessEnv} [env] Added to the environment of this process; undefined removes a name.
 * @property {boolean | number} [live] Lets the program write to our terminal, or to an open file, instead of returning what it wrote.
 * @property {number} [timeoutMs] Kills the program after this time. None by default: builds take as long as they take.
 */

/**
 * Runs a program to its end and returns what it wrote to stdout.
 * Throws for any exit code but 0, with the command and the last lines of its output.
 * @param {string} file
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<string>}
 */
export async function run(file, args, options = {}) {
  const { exitCode, signal, stdout, output } = await runToEnd(file, args, options);
  if (exitCode === 0) return stdout;
  const tail = output.trimEnd().split("\n").slice(-keptLines).join("\n");
  const reason = signal ? `killed by ${signal}${deadlineNote(options)}` : `exit code ${exitCode}`;
  throw new Error(`Running ${[file, ...args].join(" ")}: ${reason}${tail && `\n${tail}`}`);
}

/**
 * Runs a program with our terminal, or an open file in place of it, and returns its exit code, whatever it is.
 * @param {string} file
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 */
export async function runForExitCode(file, args, options = {}) {
  const { exitCode } = await runToEnd(file, args, { live: true, ...options });
  return exitCode ?? 1;
}

/**
 * @param {string} file
 * @param {readonly string[]} args
 * @param {RunOptions} options
 * @returns {Promise<{ exitCode: number | null, signal: string | null, stdout: string, output: string }>}
 */
function runToEnd(file, args, { cwd, env, live, timeoutMs }) {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio:
        typeof live === "number" ? ["ignore", live, live] : live ? "inherit" : ["ignore", "pipe", "pipe"],
      timeout: timeoutMs,
      killSignal: "SIGKILL",
    });
    let stdout = "";
    let output = "";
    child.stdout?.setEncoding("utf8").on("data", (text) => {
      stdout += text;
      output += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text) => (output += text));
    child.on("error", (cause) => reject(new Error(`Starting ${file}: ${cause.message}`, { cause })));
    child.on("close", (exitCode, signal) => resolve({ exitCode, signal, stdout, output }));
  });
}

/** @param {RunOptions} options */
function deadlineNote({ timeoutMs }) {
  return timeoutMs ? ` (it had ${timeoutMs / 1000} s)` : "";
}

/**
 * Starts a program that outlives this process and writes to a log file.
 * @param {string} file
 * @param {readonly string[]} args
 * @param {string} logFile
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {import("node:child_process").ChildProcess}
 */
export function startDetached(file, args, logFile, env) {
  const log = openSync(logFile, "a");
  try {
    const child = spawn(file, args, {
      detached: true,
      stdio: ["ignore", log, log],
      env: { ...process.env, ...env },
    });
    child.unref();
    return child;
  } finally {
    closeSync(log);
  }
}

/**
 * The full path of a program on the search path, or undefined.
 * @param {string} name
 * @param {string} [searchPath]
 */
export function findProgram(name, searchPath = process.env.PATH ?? "") {
  return searchPath
    .split(delimiter)
    .filter(Boolean)
    .map((folder) => join(folder, name))
    .find(isProgram);
}

/**
 * Whether this is a file that may be executed.
 * @param {string} path
 */
export function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false; // not there, or not for us: both mean "look elsewhere"
  }
}
