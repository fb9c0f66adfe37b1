import type { Action, Found } from "../plan";

/** What can be told of one server while requests run. */
export interface ServerTraffic {
  colour: string;
  name: string;
  /** Its checks have passed, and it takes requests. */
  isHealthy: boolean;
  /** What it answered to the last check, for people; empty before the first, and while one runs. */
  answer: string;
  /** Requests and connections that it works on, and those that wait for it. */
  open: number;
}

/** What goes through the balancer at one moment. */
export interface Traffic {
  live: string | undefined;
  servers: ServerTraffic[];
  /** Requests of each colour, those included that no server has yet. */
  open: { [colour: string]: number };
}

/** What a driver does at once; waiting is done by who watches it. */
export type Command = Exclude<Action, { do: "await" | "drain" }>;

/**
 * One key of one load balancer, in the words of the plan. Every method rejects with an UnreachableError where the balancer
 * does not answer, with a GoneError where it is clear that there is none.
 */
export interface Balancer {
  /** For messages. */
  readonly address: string;
  /** Called before anything is changed: gives a balancer that has no configuration yet its first, and waits until it answers. */
  prepare(signal: AbortSignal): Promise<void>;
  find(signal: AbortSignal): Promise<Found>;
  watch(signal: AbortSignal): Promise<Traffic>;
  /** Done when it resolves. "remove" of what still works on requests, and "add" of what is there, reject. */
  apply(command: Command, signal: AbortSignal): Promise<void>;
  /** Ends the connections of a server, of a drain that took too long. */
  cut(colour: string, server: string, signal: AbortSignal): Promise<void>;
  /** Forgets whose servers these were. */
  disown(signal: AbortSignal): Promise<void>;
}

/** Nobody answered: what the balancer is like cannot be told. */
export class UnreachableError extends Error {
  override name = "UnreachableError";
}

/** The balancer does not exist any more, or has never run. */
export class GoneError extends Error {
  override name = "GoneError";
}
