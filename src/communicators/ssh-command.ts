/** What a machine's shell is told. A command line can be read by every user of the machine; standard input cannot. */

/** One argument for a POSIX shell. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'"'"'`)}'`;
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Reads one line and makes it variables; the line itself does not stay in the environment. */
export const READ_VARIABLES = 'NL="\n"; IFS= read -r KILN_LINE; eval "$KILN_LINE"; unset KILN_LINE NL';

/** The line for `READ_VARIABLES`: a line end inside a value becomes `$NL`. */
export function formatVariables(variables: Record<string, string>, options: { export: boolean }): string {
  const assignments = Object.entries(variables).map(([name, value]) => {
    if (!NAME.test(name))
      throw new Error(`Setting the environment variable "${name}": a shell takes letters, digits and _ only`);
    if (value.includes("\0"))
      throw new Error(`Setting the environment variable ${name}: its value holds a NUL character`);
    return `${options.export ? "export " : ""}${name}=${value.split("\n").map(quote).join('"$NL"')}`;
  });
  return `${assignments.join(";")}\n`;
}

/** A command line that runs this script in a POSIX shell, whatever shell the user has. */
export function wrapScript(script: string): string {
  return `exec /bin/sh -c ${quote(script)}`;
}
