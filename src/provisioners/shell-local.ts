import * as fs from "node:fs/promises";
import * as path from "node:path";
import { z } from "zod";
import type { BuildContext } from "../core/context";
import { CommandError } from "../core/errors";
import { runLocal } from "../core/exec";
import type { Artifact, Definition, PostProcessor, Provisioner } from "../core/model";
import { commonShape, exactlyOne, optionsSchema, schemaOf } from "../core/schema";
import { renderTemplate } from "../core/template";
import { quoteForShell, requireSecrets, secretNames, shortenText } from "./command-text";
import type { CommonProvisionerOptions } from "./common";

/** Options of `kiln.shellLocal`. Same as Packer's `shell-local`, unless noted. */
export interface ShellLocalOptions extends CommonProvisionerOptions {
  /** One command line. One of `command`, `inline`, `script`, `scripts`. */
  command?: string;
  /** Commands, run as one script. */
  inline?: string[];
  /** Path of a local script. */
  script?: string;
  /** Paths of local scripts, run in order. */
  scripts?: string[];
  /** Environment variables of the commands, beside Pulumi's own environment. */
  environment?: Record<string, string>;
  /** Names of the image's `secrets` that the commands get as environment variables. Not in Packer. */
  secretEnvironment?: string[];
  /** Folder to run in. Default: the program's. Not in Packer. */
  workingDirectory?: string;
  /** First line of an `inline` script, without `#!`. Default: `/bin/sh -e`. */
  inlineShebang?: string;
  /** Program and arguments; `{{.Script}}` is the script's path. Default: `["/bin/sh", "-c", "{{.Script}}"]` with the path in quotes, on Windows `["cmd", "/V", "/C", "call", "{{.Script}}"]`. */
  executeCommand?: string[];
  /** Exit codes that mean success. Default: `[0]`. */
  validExitCodes?: number[];
  /** Names of operating systems, as Node calls them (`linux`, `darwin`, `win32`); elsewhere the step does nothing. Default: all. */
  onlyOn?: string[];
}

const schema = schemaOf<ShellLocalOptions>()(
  optionsSchema({
    ...commonShape,
    command: z.string().min(1).optional(),
    inline: z.array(z.string()).min(1).optional(),
    script: z.string().min(1).optional(),
    scripts: z.array(z.string().min(1)).min(1).optional(),
    environment: z.record(z.string(), z.string()).optional(),
    secretEnvironment: z.array(z.string()).optional(),
    workingDirectory: z.string().min(1).optional(),
    inlineShebang: z.string().min(1).optional(),
    executeCommand: z.array(z.string()).min(1).optional(),
    validExitCodes: z.array(z.int().min(0)).min(1).optional(),
    onlyOn: z.array(z.string()).optional(),
  }).check(exactlyOne("command", "inline", "script", "scripts")),
);

export const definition: Definition<ShellLocalOptions, Provisioner & PostProcessor> = {
  type: "shell-local",
  schema,
  notIdentity: ["pauseBefore", "timeout", "maxRetries"],
  actsElsewhere: () => true,
  pathOptions: () => ["script", "scripts"],
  placeOptions: ["workingDirectory"],
  title: (options) =>
    `shell-local: ${shortenText(options.inline ?? (options.command ? [options.command] : scriptsOf(options)))}`,
  sources: (options) => scriptsOf(options).map((script) => ({ path: script })),
  secretNames,
  create: (options) => ({
    provision: (context) => runScripts(context, options, {}),
    async process(context, artifact) {
      await runScripts(context, options, describeArtifact(artifact));
      return { artifact, made: [] };
    },
  }),
};

function scriptsOf(options: ShellLocalOptions): string[] {
  return options.scripts ?? (options.script === undefined ? [] : [options.script]);
}

/** What a script run after the build can read about it. */
function describeArtifact(artifact: Artifact): Record<string, string> {
  return {
    KILN_ARTIFACT: JSON.stringify(artifact),
    KILN_ARTIFACT_ID: artifact.id,
    KILN_ARTIFACT_FILES: (artifact.files ?? []).join("\n"),
  };
}

async function runScripts(
  context: BuildContext,
  options: ShellLocalOptions,
  environment: Record<string, string>,
): Promise<void> {
  if (options.onlyOn && !options.onlyOn.includes(process.platform)) return;
  const scripts = scriptsOf(options).map((script) => path.resolve(context.cwd, script));
  if (options.inline) scripts.push(await writeScript(context, options.inline, options.inlineShebang));
  if (options.command !== undefined) scripts.push(await writeScript(context, [options.command], undefined));
  for (const script of scripts) await runScript(context, options, script, environment);
}

async function writeScript(context: BuildContext, lines: string[], shebang = "/bin/sh -e"): Promise<string> {
  const windows = process.platform === "win32";
  const file = path.join(context.tempDir, `script-${Date.now()}${windows ? ".cmd" : ".sh"}`);
  const text = windows ? ["@echo off", ...lines, ""].join("\r\n") : [`#!${shebang}`, ...lines, ""].join("\n");
  await fs.writeFile(file, text, { mode: 0o700 });
  return file;
}

async function runScript(
  context: BuildContext,
  options: ShellLocalOptions,
  script: string,
  environment: Record<string, string>,
): Promise<void> {
  const { log } = context;
  const template =
    options.executeCommand ??
    (process.platform === "win32"
      ? ["cmd", "/V", "/C", "call", "{{.Script}}"]
      : ["/bin/sh", "-c", quoteForShell(script)]);
  log.startCommand({ hidden: context.hideCommands });
  const exitCode = await runLocal({
    argv: template.map((part) => renderTemplate(part, { Script: script })) as [string, ...string[]],
    cwd: path.resolve(context.cwd, options.workingDirectory ?? "."),
    environment: {
      ...environment,
      ...options.environment,
      ...requireSecrets(context, options.secretEnvironment),
    },
    signal: context.signal,
    onOutput: (chunk) => log.output(chunk),
  }).finally(() => log.endCommand());
  if ((options.validExitCodes ?? [0]).includes(exitCode)) return;
  const what = context.hideCommands ? "shell-local" : definition.title(options);
  throw new CommandError(
    [`${what}: exit code ${exitCode}`, ...log.tail().map((line) => `  ${line}`)].join("\n"),
    exitCode,
  );
}
