/** Rows of the tables of units. No run-time import: the user's program and the engine both load this. */
import type { Definition } from "../core/model";
import type { Args } from "./args";

/** Makes the plain data that a program passes, and knows where the engine finds the rest. */
export interface UnitFactory<Type extends string, Options> {
  (options: Args<Options>): Args<Options> & { type: Type };
  readonly unitType: Type;
  readonly load: () => Definition<Options, unknown, never>;
}

/** A row of a table of units. `load` requires the unit's file lazily: a user's program must not load the engine. */
export function unit<Type extends string, Options>(
  unitType: Type,
  load: () => Definition<Options, unknown, never>,
): UnitFactory<Type, Options> {
  const factory = (options: Args<Options>): Args<Options> & { type: Type } => ({
    ...options,
    type: unitType,
  });
  return Object.assign(factory, { unitType, load });
}
