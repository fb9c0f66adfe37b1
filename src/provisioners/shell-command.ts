/** The command line by which a script gets into the machine and runs there. */
import type { BuildContext } from "../core/context";
import { renderTemplate } from "../core/template";
import { quoteForShell } from "./command-text";
import type { ShellOptions } from "./shell";

/** The script comes by standard input; a machine with a shell has `cat`. */
export function sendCommand(remote: string): string {
  const path = quoteForShell(remote);
  return `cat >${path} && chmod 0755 ${path} || { echo "the script cannot be written to "${path} >&2; exit 126; }`;
}

export function buildCommand(context: BuildContext, options: ShellOptions, remote: string): string {
  const variables = Object.entries(context.hideCommands ? {} : (options.environment ?? {}))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${quoteForShell(value)}`)
    .join(" ");
  requirePassable(context, options);
  const command = renderTemplate(options.executeCommand ?? "chmod +x {{.Path}}; {{.Vars}} {{.Path}}", {
    Path: remote,
    Vars: variables,
  });
  return options.workingDirectory
    ? `cd ${quoteForShell(options.workingDirectory)} || exit 1; ${command}`
    : command;
}

/** These do not pass on the environment, by which goes what `{{.Vars}}` would hold where commands are hidden. */
const DROPS_ENVIRONMENT = /\b(sudo|doas|su)\b(?!.*\s(-\w*E|--preserve-env|-p\b|-m\b))|\benv\s+-i\b/;

function requirePassable(
  context: BuildContext,
  { executeCommand = "", environment = {} }: ShellOptions,
): void {
  if (!context.hideCommands || Object.keys(environment).length === 0) return;
  if (!/\{\{\s*\.Vars\s*\}\}/.test(executeCommand) || !DROPS_ENVIRONMENT.test(executeCommand)) return;
  throw new Error(
    "Passing `environment` by {{.Vars}} in `executeCommand`: a provisioner of this image holds a secret, so that no value is put into a command, where others could read it, and this command drops the environment. Let it keep that (sudo -E), or pass the secret by `secrets` and `secretEnvironment`",
  );
}

/** Names that scripts written for Packer may read. */
export function buildEnvironment(context: BuildContext): Record<string, string> {
  return { PACKER_BUILD_NAME: context.name, PACKER_BUILDER_TYPE: context.platform };
}
