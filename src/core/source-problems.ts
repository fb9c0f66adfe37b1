/** One entry that cannot become part of an image. */
export interface SourceProblem {
  /** Relative to the program's folder, "/" separated. */
  path: string;
  /** A clause that follows the path: what is wrong, then what to do. */
  reason: string;
}

const maxProblems = 20;

/** Everything that is wrong with the sources of one image, in one error, so that it can be put right in one go. */
export class SourceProblems extends Error {
  override readonly name = "SourceProblems";
  /** The first 20, in the order of the sources and their entries. */
  readonly problems: readonly SourceProblem[];

  /** @param omittedCount how many more there were than are handed over */
  constructor(problems: readonly SourceProblem[], omittedCount = 0) {
    const shown = problems.slice(0, maxProblems);
    const omitted = omittedCount + problems.length - shown.length;
    const lines = shown.map(({ path, reason }) => `${path}: ${reason}`);
    if (omitted > 0) lines.push(`… and ${omitted} more`);
    const list = lines.length === 1 ? ` ${lines[0]}` : lines.map((line) => `\n  ${line}`).join("");
    super(`Reading the sources of the image:${list}`);
    this.problems = shown;
  }
}

/** Sorted by path whichever thread found them first, and cut to what {@link SourceProblems} shows. */
export function cutProblems(found: readonly SourceProblem[]): {
  problems: SourceProblem[];
  omittedCount: number;
} {
  const sorted = [...found].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  return { problems: sorted.slice(0, maxProblems), omittedCount: Math.max(0, sorted.length - maxProblems) };
}

/** The problem of an entry on which a system call failed. */
export function describeFailure(path: string, error: unknown): SourceProblem {
  const { code, errno } = error as NodeJS.ErrnoException;
  if (code === undefined || errno === undefined) throw error; // not from the file system: a mistake of ours, which must not look like one of the user's
  return { path, reason: reasons[code] ?? `cannot be read (${code}). Repair it or add it to \`ignore\`` };
}

const unreadable = "may not be read by this user (permission denied). Change its mode or add it to `ignore`";
const reasons: Readonly<Record<string, string>> = {
  EACCES: unreadable,
  EPERM: unreadable,
  ENOENT: "does not exist. Is the path right, and did nothing remove it meanwhile?",
  ENOTDIR: "is no longer a folder. Do not change a source while it is read",
  ELOOP: "is a symbolic link that leads to itself, or was replaced by a link while it was read",
  ENAMETOOLONG: "has a path that is too long for this system. Shorten it or add it to `ignore`",
};
