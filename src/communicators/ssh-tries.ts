import { formatDuration } from "../core/duration";
import { describeError, TimeoutError } from "../core/errors";

/** What was tried so far, for the error that ends it. */
export class Tries {
  count = 0;
  where = "the machine";
  last: unknown;

  constructor(private readonly username: string) {}

  describe(elapsedMs: number): TimeoutError {
    const last = this.last === undefined ? "no try came to an end" : describeError(this.last);
    return withCause(
      new TimeoutError(
        `Waiting for SSH on ${this.where} as ${this.username}: not in ${formatDuration(elapsedMs)} and ${plural(this.count)}. ` +
          `The last one: ${last}. Is the port open to this machine, and does the machine boot?`,
      ),
      this.last,
    );
  }

  describeRefusals(refusals: number): Error {
    return new Error(
      `Waiting for SSH on ${this.where} as ${this.username}: refused ${refusals} times. ` +
        `The last time: ${describeError(this.last)}. Are user, key and password right?`,
      { cause: this.last },
    );
  }
}

function plural(count: number): string {
  return count === 1 ? "1 try" : `${count} tries`;
}

function withCause<E extends Error>(error: E, cause: unknown): E {
  error.cause = cause;
  return error;
}
