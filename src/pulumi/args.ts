import type * as pulumi from "@pulumi/pulumi";

/** Options whose values, at any depth, may be outputs of other resources. */
export type Inputs<Options> = Options extends string | number | boolean | null | undefined
  ? pulumi.Input<Options>
  : Options extends (infer Item)[]
    ? pulumi.Input<Inputs<Item>[]>
    : Options extends object
      ? pulumi.Input<{ [Name in keyof Options]: Inputs<Options[Name]> }>
      : pulumi.Input<Options>;

/** The options of a resource: the names are plain, the values may be outputs. */
export type Args<Options> = { [Name in keyof Options]: Inputs<Options[Name]> };

/** A unit made by its factory, with outputs in its options. */
export type UnitArgs = { type: string } & object;
