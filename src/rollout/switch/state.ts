/** The shape of what Pulumi keeps for a switch. States of years ago come back here: what is in them is for ever. */
import type { HaproxySwitchOptions } from "../options";

/** What the constructor passes along, and `check` adds to. */
export interface KilnInputs {
  type: string;
  stateVersion: number;
  /** Where messages about the resource go. */
  urn: string;
  /** Where the package was found, relative to the program's folder. */
  from: string;
  /** Whether this is a preview; `check` takes it out. */
  dryRun?: boolean;
}

/** What the engine passes in. */
export interface SwitchInputs extends HaproxySwitchOptions {
  __kiln: KilnInputs;
  __provider?: string;
}

/** What the engine keeps. */
export interface SwitchState extends SwitchInputs {
  /** The backend that serves. */
  active: string;
  __kiln: KilnInputs & {
    /** In the names of this switch's servers; minted once, and taken over by a replacement. */
    lineage: string;
  };
}

// On the global object: the provider's text in each resource may load a module of its own.
const key = Symbol.for("pulumi-kiln.rollout-previews");
const holder = globalThis as { [key]?: Map<string, boolean> };
const previews = (holder[key] ??= new Map<string, boolean>());

/** `check` is told by the program whether this run is a preview; `diff` is not. */
export function rememberRun(urn: string, isPreview: boolean): void {
  previews.set(urn, isPreview);
}

export function isPreview(urn: string): boolean {
  return previews.get(urn) ?? false;
}
