import { hasConfirmed, type Claim } from "../core/claims";
import type { LeftBehind } from "./state";

/**
 * What one run of the engine knows of a resource, from one call to the next. A call gets little: whether `delete` means
 * "replaced", or `create` "build it again", shows only in what came before.
 */
export interface ResourceMemory {
  /** `check` ran: the program declares the resource, so a delete is the end of an old one. */
  checked: boolean;
  /** The last known inputs had another fingerprint. */
  moved: boolean;
  lineage?: string;
  /** The delete that is under way. */
  deleting?: Promise<unknown>;
  /** What the fingerprint was made of, of the sources: they must be the same at the end of the build. */
  sources?: string;
  /** How many replaced images the program wants kept. */
  keep?: number;
  /** See `listSuperseded`: as it was before this run's first delete. */
  superseded?: string[];
  /** The image that is in state, and where it is. */
  current?: LeftBehind & { elsewhere?: LeftBehind[] };
  /** Pulumi has it in state. */
  hasState?: boolean;
  /** What the present options make: an old resource's delete must leave it. */
  planned: string[];
}

// On the global object: the provider's text in each resource may load a module of its own.
const key = Symbol.for("pulumi-kiln.memory");
const holder = globalThis as { [key]?: Map<string, ResourceMemory> };
const memories = (holder[key] ??= new Map<string, ResourceMemory>());

/** What the resources of this program make: whoever made it before, an undo must leave it. A renamed resource has another URN. */
export function isPlanned(made: string): boolean {
  return [...memories.values()].some((memory) => memory.planned.includes(made));
}

export function recall(urn: string): ResourceMemory {
  let memory = memories.get(urn);
  if (!memory) {
    memory = { checked: false, moved: false, planned: [] };
    memories.set(urn, memory);
  }
  return memory;
}

/** Whether Pulumi has never had this resource, as far as its inputs and the claims tell: a tainted one is made anew without a word. */
export function isFirstCreate(memory: ResourceMemory, claims: readonly Claim[], owner: string): boolean {
  return !memory.hasState && !hasConfirmed(claims, owner);
}
