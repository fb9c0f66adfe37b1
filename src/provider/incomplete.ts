import { describeError } from "../core/errors";
import type { State } from "./state";

/** The engine knows it by its three fields: it keeps what was made although something after it failed. */
export class IncompleteError extends Error {
  constructor(
    readonly id: string,
    readonly properties: State,
    readonly reasons: readonly string[],
  ) {
    super(reasons.join("\n"));
    this.name = "IncompleteError";
  }
}

/** An image whose post-processors did not all succeed; the next `up` finishes it. */
export function incomplete(
  id: string,
  state: State,
  failures: readonly unknown[],
  logFile: string,
): IncompleteError {
  const reasons = failures.map(
    (failure) =>
      `${describeError(failure)}\nThe image is kept; the next \`pulumi up\` goes on from here. Log: ${logFile}`,
  );
  return new IncompleteError(id, { ...state, incomplete: true }, reasons);
}
