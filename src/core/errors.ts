/** Options that cannot be used: all problems of one resource at once. */
export class ValidationError extends Error {
  constructor(readonly problems: readonly Problem[]) {
    super(
      problems
        .map((problem) => (problem.path ? `${problem.path}: ${problem.reason}` : problem.reason))
        .join("\n"),
    );
    this.name = "ValidationError";
  }
}

export interface Problem {
  /** Where in the options, e.g. `provisioners[1].inline`. */
  path: string;
  reason: string;
}

/** A command of a step that ended with an exit code which means failure. */
export class CommandError extends Error {
  constructor(
    message: string,
    readonly exitCode: number,
  ) {
    super(message);
    this.name = "CommandError";
  }
}

/** The machine being built cannot be reached any more. */
export class ConnectionLostError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ConnectionLostError";
  }
}

/** The user, or the end of the engine, stopped the operation. */
export class CancelledError extends Error {
  constructor(message = "cancelled") {
    super(message);
    this.name = "CancelledError";
  }
}

/** A deadline that the user set, or a default, has passed. */
export class TimeoutError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "TimeoutError";
  }
}

/** The text of an error and of its causes, for people. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let current = error; current !== undefined && parts.length < 5;) {
    const text = current instanceof Error ? current.message : JSON.stringify(current);
    if (!parts.some((part) => part.includes(text))) parts.push(text);
    current = current instanceof Error ? current.cause : undefined;
  }
  return parts.join(": ");
}
