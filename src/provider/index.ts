/**
 * What the text in the state calls, for years: this path and these signatures are for ever.
 * Runs in Pulumi's provider process, in the program's folder.
 */
import { ValidationError } from "../core/errors";
import { checkInputs } from "./check";
import { createImage } from "./create";
import { deleteImage } from "./delete";
import { diffImage, type DiffAnswer } from "./diff";
import { flushLog } from "./engine-log";
import { readImage } from "./read";
import type { Inputs, State } from "./state";
import { updateImage } from "./update";

export interface CheckAnswer {
  inputs?: Inputs;
  failures?: { property: string; reason: string }[];
}

export async function check(olds: Partial<Inputs>, news: Inputs): Promise<CheckAnswer> {
  try {
    return { inputs: await quiet(checkInputs(olds, news)) };
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error;
    // Without a property: the engine would print that property's value, secret or not.
    return { inputs: news, failures: [{ property: "", reason: error.message }] };
  } finally {
    await flushLog();
  }
}

export function diff(id: string, olds: State, news: Inputs): Promise<DiffAnswer> {
  return quiet(diffImage(id, olds, news));
}

export function create(inputs: Inputs): Promise<{ id: string; outs: State }> {
  return quiet(createImage(inputs));
}

export function read(id: string, state: State): Promise<{ id?: string; props?: State }> {
  return quiet(readImage(id, state));
}

export function update(id: string, olds: State, news: Inputs): Promise<{ outs: State }> {
  return quiet(updateImage(id, olds, news));
}

export function remove(id: string, state: State): Promise<void> {
  return quiet(deleteImage(id, state));
}

export { remove as delete };

/** People read the message; the engine would print the stack below it. */
async function quiet<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Error) error.stack = "";
    throw error;
  }
}
