import type { BuildContext } from "../core/context";

const TITLE_LENGTH = 60;

/** One argument for a POSIX shell. */
export function quoteForShell(text: string): string {
  return `'${text.replaceAll("'", `'"'"'`)}'`;
}

/** A list of commands in one short line for the display. */
export function shortenText(lines: readonly string[]): string {
  const first =
    (lines.find((line) => line.trim() !== "" && !line.startsWith("#!")) ?? "").trim().split("\n")[0] ?? "";
  const more = lines.length > 1 ? ` (+${lines.length - 1})` : "";
  return (first.length > TITLE_LENGTH ? `${first.slice(0, TITLE_LENGTH - 1)}…` : first) + more;
}

export function secretNames(options: { secretEnvironment?: string[] }): string[] {
  return options.secretEnvironment ?? [];
}

/** The values of the secrets that a unit named; their presence was checked with the options. */
export function requireSecrets(context: BuildContext, names: readonly string[] = []): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => {
      const value = context.secrets[name];
      if (value === undefined)
        throw new Error(`secretEnvironment names "${name}", which is not in \`secrets\``);
      return [name, value];
    }),
  );
}
