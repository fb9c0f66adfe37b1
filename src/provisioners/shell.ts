import * as fs from "node:fs/promises";
import * as path from "node:path";
import { z } from "zod";
import type { BuildContext } from "../core/context";
import { parseDuration, type Duration } from "../core/duration";
import { CommandError, ConnectionLostError } from "../core/errors";
import type { Communicator, Definition, Provisioner } from "../core/model";
import { retryFor } from "../core/retry";
import { commonShape, duration, exactlyOne, optionsSchema, schemaOf } from "../core/schema";
import { quoteForShell, requireSecrets, secretNames, shortenText } from "./command-text";
import type { CommonProvisionerOptions } from "./common";
import { buildCommand, buildEnvironment, sendCommand } from "./shell-command";
import { StartLine } from "./start-line";

const START_RETRY_INTERVAL_MS = 2000;
/** How long the machine may take to go after a script that lets it. */
const CUT_SECONDS = 5;

/** Options of `kiln.shell`. Same as Packer's `shell` provisioner, unless noted. */
export interface ShellOptions extends CommonProvisionerOptions {
  /** Commands, run as one script. One of `inline`, `script`, `scripts`. */
  inline?: string[];
  /** Path of a local script, relative to the program's folder. */
  script?: string;
  /** Paths of local scripts, run in order. */
  scripts?: string[];
  /** Environment variables of the commands. */
  environment?: Record<string, string>;
  /** Names of the image's `secrets` that the commands get as environment variables. Not in Packer. */
  secretEnvironment?: string[];
  /** Folder in the machine to run in. Default: the connection's own. Not in Packer. */
  workingDirectory?: string;
  /** First line of an `inline` script, without `#!`. Default: `/bin/sh -e`, unless the first line has one of its own. */
  inlineShebang?: string;
  /**
   * How a script is run; `{{.Path}}` is its path, `{{.Vars}}` the `environment` as `NAME='value'`. What `secretEnvironment`
   * names is not in `{{.Vars}}`: it is in the environment only, which `sudo` needs to be told to keep
   * (`sudo --preserve-env=NAME`). Default: `chmod +x {{.Path}}; {{.Vars}} {{.Path}}`.
   */
  executeCommand?: string;
  /** Where the script is put in the machine. Default: `/tmp/script_<random>.sh`. */
  remotePath?: string;
  /** Exit codes that mean success. Default: `[0]`. */
  validExitCodes?: number[];
  /**
   * How long sending and starting a script is tried again while the machine cannot be reached. One that has begun is not
   * run again: that it loses the connection is an error, unless `expectDisconnect` is set. Default: "5m".
   */
  startRetryTimeout?: Duration;
  /** The script may cut the connection, also some seconds after its end, e.g. by a reboot: the machine is waited for. Default: false. */
  expectDisconnect?: boolean;
  /** Leave the script in the machine. Default: false. */
  skipClean?: boolean;
  /** The script is a program: line ends are left alone. Default: false. */
  binary?: boolean;
}

const schema = schemaOf<ShellOptions>()(
  optionsSchema({
    ...commonShape,
    inline: z.array(z.string()).min(1).optional(),
    script: z.string().min(1).optional(),
    scripts: z.array(z.string().min(1)).min(1).optional(),
    environment: z.record(z.string(), z.string()).optional(),
    secretEnvironment: z.array(z.string()).optional(),
    workingDirectory: z.string().min(1).optional(),
    inlineShebang: z.string().min(1).optional(),
    executeCommand: z.string().min(1).optional(),
    remotePath: z.string().min(1).optional(),
    validExitCodes: z.array(z.int().min(0)).min(1).optional(),
    startRetryTimeout: duration.optional(),
    expectDisconnect: z.boolean().optional(),
    skipClean: z.boolean().optional(),
    binary: z.boolean().optional(),
  }).check(exactlyOne("inline", "script", "scripts")),
);

export const definition: Definition<ShellOptions, Provisioner> = {
  type: "shell",
  schema,
  notIdentity: ["pauseBefore", "timeout", "maxRetries", "startRetryTimeout"],
  pathOptions: () => ["script", "scripts"],
  title: (options) => `shell: ${shortenText(options.inline ?? scriptsOf(options))}`,
  sources: (options) => scriptsOf(options).map((script) => ({ path: script })),
  secretNames,
  create: (options) => ({ provision: (context, communicator) => runScripts(context, communicator, options) }),
};

function scriptsOf(options: ShellOptions): string[] {
  return options.scripts ?? (options.script === undefined ? [] : [options.script]);
}

async function runScripts(
  context: BuildContext,
  communicator: Communicator,
  options: ShellOptions,
): Promise<void> {
  if (options.inline) return runScript(context, communicator, options, inlineScript(options.inline, options));
  for (const script of scriptsOf(options)) {
    const content = await fs.readFile(path.resolve(context.cwd, script));
    await runScript(context, communicator, options, options.binary ? content : withUnixLineEnds(content));
  }
}

function inlineScript(lines: string[], options: ShellOptions): Buffer {
  const hasShebang = options.inlineShebang === undefined && lines[0]?.startsWith("#!");
  const shebang = hasShebang ? [] : [`#!${options.inlineShebang ?? "/bin/sh -e"}`];
  return withUnixLineEnds(Buffer.from([...shebang, ...lines, ""].join("\n")));
}

function withUnixLineEnds(content: Buffer): Buffer {
  return content.includes("\r\n")
    ? Buffer.from(content.toString("latin1").replaceAll("\r\n", "\n"), "latin1")
    : content;
}

async function runScript(
  context: BuildContext,
  communicator: Communicator,
  options: ShellOptions,
  content: Buffer,
): Promise<void> {
  const { signal, log } = context;
  const remote = options.remotePath ?? `/tmp/script_${context.buildId.slice(-6)}.sh`;
  const clean = options.skipClean ? undefined : `rm -f ${quoteForShell(remote)}`;
  // One call for sending, running and cleaning: round trips are what a short step costs. Not across a reboot, of course.
  // One stream for both outputs: two of them arrive in any order, and an error would stand before what led to it.
  const run = `(${buildCommand(context, options, remote)}\n) </dev/null 2>&1`;
  const rest = clean && !options.expectDisconnect ? `${run}; code=$?; ${clean}; exit $code` : run;

  log.startCommand({ hidden: context.hideCommands });
  let exitCode: number | undefined;
  try {
    exitCode = await startScript(context, communicator, options, { remote, content, rest });
  } catch (error) {
    if (!(error instanceof ConnectionLostError && options.expectDisconnect)) throw error;
    log.info("the connection was cut, as expected; waiting for the machine");
    await communicator.reconnect(signal);
  } finally {
    log.endCommand();
  }
  if (exitCode !== undefined) requireValidExitCode(context, options, exitCode);
  if (exitCode !== undefined && options.expectDisconnect) await awaitCut(context, communicator);
  if (clean && options.expectDisconnect) await communicator.exec(clean, { signal });
}

/** A reboot is asked for at once, and comes a second later: it must not hit the next step. */
async function awaitCut({ signal, log }: BuildContext, communicator: Communicator): Promise<void> {
  try {
    await communicator.exec(`sleep ${CUT_SECONDS}`, { signal, expectDisconnect: true });
  } catch (error) {
    if (!(error instanceof ConnectionLostError)) throw error;
    log.info("the connection was cut, as expected; waiting for the machine");
    await communicator.reconnect(signal);
  }
}

/** Sends the script and runs it to its end; not tried again once it said that it begins: half of one must not be followed by a whole one. */
async function startScript(
  context: BuildContext,
  communicator: Communicator,
  options: ShellOptions,
  { remote, content, rest }: { remote: string; content: Buffer; rest: string },
): Promise<number> {
  const { signal, log } = context;
  const environment = {
    ...buildEnvironment(context),
    // Where a secret may be among them, none stands in the command: others can read it in the process list.
    ...(context.hideCommands ? options.environment : {}),
    ...requireSecrets(context, options.secretEnvironment),
  };
  return retryFor(
    parseDuration(options.startRetryTimeout ?? "5m"),
    START_RETRY_INTERVAL_MS,
    signal,
    (error) => error instanceof ConnectionLostError && !options.expectDisconnect,
    async () => {
      const start = new StartLine((chunk) => log.output(chunk));
      const onOutput = (chunk: Buffer): void => start.read(chunk);
      const command = `${sendCommand(remote)}; ${start.command}; ${rest}`;
      try {
        const { expectDisconnect } = options;
        const execution = { signal, environment, stdin: content, onOutput, expectDisconnect };
        return (await communicator.exec(command, execution)).exitCode;
      } catch (error) {
        if (!(error instanceof ConnectionLostError) || !start.hasCome || options.expectDisconnect)
          throw error;
        throw new Error(
          `${error.message}, while a script ran there. One that is meant to do that, as by a reboot, needs \`expectDisconnect\`; one after it may need \`pauseBefore\``,
          { cause: error },
        );
      } finally {
        start.flush();
      }
    },
  );
}

function requireValidExitCode(context: BuildContext, options: ShellOptions, exitCode: number): void {
  const valid = options.validExitCodes ?? [0];
  if (valid.includes(exitCode)) return;
  const what = context.hideCommands ? "shell" : definition.title(options);
  const expected = valid.length === 1 && valid[0] === 0 ? "" : ` (valid: ${valid.join(", ")})`;
  const output = context.hideCommands
    ? [
        "(its output is not shown: the options hold a secret; pass it by `secrets` and `secretEnvironment` instead)",
      ]
    : context.log.tail();
  throw new CommandError(
    [`${what}: exit code ${exitCode}${expected}`, ...output.map((line) => `  ${line}`)].join("\n"),
    exitCode,
  );
}
