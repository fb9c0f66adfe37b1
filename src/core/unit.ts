import type { Definition } from "./model";

/** A row of a table of units: makes the plain data for the user, and loads the definition for the engine, only when it is needed. */
export interface UnitFactory<Type extends string, Options> {
  (options: Options): Options & { type: Type };
  readonly unitType: Type;
  readonly load: () => Definition<Options, unknown, never>;
}

/** A row of a table of units. `load` requires the unit's file lazily: a user's program must not load the engine. */
export function unit<Type extends string, Options>(
  unitType: Type,
  load: () => Definition<Options, unknown, never>,
): UnitFactory<Type, Options> {
  const factory = (options: Options): Options & { type: Type } => ({ ...options, type: unitType });
  return Object.assign(factory, { unitType, load });
}
