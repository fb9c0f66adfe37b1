/**
 * What the text in the state calls, for years: this path and these signatures are for ever.
 * Runs in Pulumi's provider process, in the program's folder.
 */
import { ValidationError } from "../core/errors";
import { checkInputs } from "./check";
import { diffImage, type DiffAnswer } from "./diff";
import { flushLog } from "./engine-log";
import type { Inputs, State } from "./state";

// A preview checks and compares: what builds is loaded when something is to be built.
const loadCreate = () => require("./create") as typeof import("./create");
const loadRead = () => require("./read") as typeof import("./read");
const loadUpdate = () => require("./update") as typeof import("./update");
const loadDelete = () => require("./delete") as typeof import("./delete");

export interface CheckAnswer {
  inputs?: Inputs;
  failures?: { property: string; reason: string }[];
}

export async function check(olds: Partial<Inputs>, news: Inputs): Promise<CheckAnswer> {
  try {
    const rollout = findRollout(news);
    return { inputs: await quiet(rollout ? rollout.check(olds, news) : checkInputs(olds, news)) };
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error;
    // Without a property: the engine would print that property's value, secret or not.
    return { inputs: news, failures: [{ property: "", reason: error.message }] };
  } finally {
    await flushLog();
  }
}

export function diff(id: string, olds: State, news: Inputs): Promise<DiffAnswer> {
  return quiet(findRollout(news)?.diff(id, olds, news) ?? diffImage(id, olds, news));
}

export function create(inputs: Inputs): Promise<{ id: string; outs: State }> {
  return quiet(findRollout(inputs)?.create(inputs) ?? loadCreate().createImage(inputs));
}

export function read(id: string, state: State): Promise<{ id?: string; props?: State }> {
  return quiet(findRollout(state)?.read(id, state) ?? loadRead().readImage(id, state));
}

export function update(id: string, olds: State, news: Inputs): Promise<{ outs: State }> {
  return quiet(findRollout(news)?.update(id, olds, news) ?? loadUpdate().updateImage(id, olds, news));
}

export function remove(id: string, state: State): Promise<void> {
  return quiet(findRollout(state)?.delete(id, state) ?? loadDelete().deleteImage(id, state));
}

export { remove as delete };

/** The same functions for what is no image. Loaded when the first of its kind comes. */
interface Rollout {
  check(olds: Partial<Inputs>, news: Inputs): Promise<Inputs>;
  diff: typeof diff;
  create: typeof create;
  read: typeof read;
  update: typeof update;
  delete: typeof remove;
}

function findRollout(inputs: Inputs): Rollout | undefined {
  const { type } = inputs.__kiln;
  if (type === "rollout:HaproxySwitch") return require("../rollout/switch") as Rollout;
  if (type === "rollout:Generation") return require("../rollout/generations") as Rollout;
  return undefined;
}

/** People read the message; the engine would print the stack below it. */
async function quiet<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Error) error.stack = "";
    throw error;
  }
}
