import { z } from "zod";
import type { Problem } from "./errors";
import { isDuration } from "./duration";
import type { OptionsSchema } from "./model";
import { isSize } from "./size";

/** How Pulumi sends, during a preview, a value that is not known yet. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Ties a schema to the interface that users read: the compiler refuses it if one has an option that the other lacks. */
export function schemaOf<Options>() {
  return <Schema extends z.ZodType>(
    schema: Same<z.infer<Schema>, Options> extends true ? Schema : never,
  ): z.ZodType<Options> => schema as z.ZodType<Options>;
}

export const duration = z
  .string()
  .refine(isDuration, { error: 'expected a duration such as "30m" or "1h30m"' });

/** An object of options that knows its keys: an unknown one is answered with the nearest known. */
export function optionsSchema<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === "unrecognized_keys" ? JSON.stringify(Object.keys(shape)) : undefined),
  });
}

/** All problems of a value at once, each with its path below `prefix`. What is not known yet is no problem. */
export function validate(
  schema: OptionsSchema<unknown>,
  value: unknown,
  options: { prefix?: readonly PropertyKey[]; hideValues?: boolean } = {},
): Problem[] {
  const result = (schema as z.ZodType).safeParse(value);
  if (result.success) return [];
  const quotes = options.hideValues ? HIDDEN : SHOWN;
  return result.error.issues
    .flatMap((issue) => explainIssue(issue, value, [], quotes))
    .filter((problem) => !isUnknownAt(value, problem.at))
    .map(({ at, reason }) => ({ path: formatPath([...(options.prefix ?? []), ...at]), reason }));
}

export function containsUnknown(value: unknown): boolean {
  if (value === UNKNOWN) return true;
  if (typeof value === "string") return value.includes(UNKNOWN);
  return typeof value === "object" && value !== null && Object.values(value).some(containsUnknown);
}

export function formatPath(at: readonly PropertyKey[]): string {
  return at.reduce<string>((text, key) => {
    if (typeof key === "number") return `${text}[${key}]`;
    return text === "" ? String(key) : `${text}.${String(key)}`;
  }, "");
}

interface LocatedProblem {
  at: PropertyKey[];
  reason: string;
}

type Issue = z.core.$ZodIssue;

/** How a problem quotes the value, and what a schema's own check says with the value in it (its `params.detail`). */
interface Quotes {
  value(value: unknown): string;
  detail(text: unknown): string;
}

const SHOWN: Quotes = {
  value: (value) => `, got ${showValue(value)}`,
  detail: (text) => (typeof text === "string" ? ` (${text})` : ""),
};
const HIDDEN: Quotes = { value: () => "", detail: () => "" };

function explainIssue(issue: Issue, root: unknown, prefix: PropertyKey[], quotes: Quotes): LocatedProblem[] {
  const at = [...prefix, ...issue.path];
  const value = valueAt(root, at);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => ({
        at: [...at, key],
        reason: `unknown option${suggestNearest(key, issue.message)}`,
      }));
    case "invalid_union": {
      const branches = issue.errors.filter((errors) => errors.length > 0);
      // The branch that got furthest is the one that the user meant.
      const best = branches.sort((a, b) => deepest(b) - deepest(a) || a.length - b.length)[0];
      if (!best || (deepest(best) === 0 && branches.length > 1)) {
        const expected = branches.flatMap((errors) => errors.map(describeExpected));
        return [{ at, reason: `expected ${[...new Set(expected)].join(" or ")}${quotes.value(value)}` }];
      }
      return best.flatMap((inner) => explainIssue(inner, root, at, quotes));
    }
    case "custom": {
      const reason = issue.message + quotes.detail(issue.params?.["detail"]);
      return [
        {
          at,
          reason: value === undefined || typeof value === "object" ? reason : reason + quotes.value(value),
        },
      ];
    }
    default:
      if (value === undefined) return [{ at, reason: `missing; expected ${describeExpected(issue)}` }];
      return [{ at, reason: `expected ${describeExpected(issue)}${quotes.value(value)}` }];
  }
}

function describeExpected(issue: Issue): string {
  if (issue.code === "invalid_type")
    return issue.expected === "record"
      ? "a map"
      : `${/^[aeiou]/.test(issue.expected) ? "an" : "a"} ${issue.expected}`;
  if (issue.code === "invalid_value") return issue.values.map((value) => JSON.stringify(value)).join(" or ");
  if (issue.code === "too_small")
    return issue.origin === "number"
      ? `a number of at least ${String(issue.minimum)}`
      : `at least ${String(issue.minimum)} ${issue.origin === "string" ? "characters" : "items"}`;
  return issue.message.replace(/^Invalid input: expected /, "").replace(/^expected /, "");
}

function deepest(issues: readonly Issue[]): number {
  return Math.max(...issues.map((issue) => issue.path.length));
}

function suggestNearest(key: string, knownKeys: string): string {
  const known = JSON.parse(knownKeys) as string[];
  const candidates = known
    .map((name) => ({ name, distance: editDistance(key.toLowerCase(), name.toLowerCase()) }))
    .filter(({ name, distance }) => distance <= Math.max(2, Math.floor(name.length / 3)))
    .sort((a, b) => a.distance - b.distance);
  return candidates[0] ? `; did you mean \`${candidates[0].name}\`?` : "";
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, substitution));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function valueAt(root: unknown, at: readonly PropertyKey[]): unknown {
  return at.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], root);
}

/** Unknown itself, or a part of something unknown. */
function isUnknownAt(root: unknown, at: readonly PropertyKey[]): boolean {
  return (
    at.some((_, index) => valueAt(root, at.slice(0, index)) === UNKNOWN) || valueAt(root, at) === UNKNOWN
  );
}

function showValue(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** What every provisioner takes: the schema of `CommonProvisionerOptions`. */
export const commonShape = {
  pauseBefore: duration.optional(),
  timeout: duration.optional(),
  maxRetries: z.int().min(0).optional(),
  cache: z.boolean().optional(),
};

const cacheSchema = z.union([
  z.boolean(),
  optionsSchema({
    maxSize: z
      .string()
      .refine(isSize, { error: 'expected an amount of data such as "10GB" or "500MB"' })
      .optional(),
    maxAge: duration.optional(),
  }),
]);

const unit = z.looseObject({ type: z.string() });
const map = z.record(z.string(), z.string()).optional();

/** What every image takes: the schema of `CommonOptions`. */
export const imageShape = {
  provisioners: z.array(unit).optional(),
  postProcessors: z.union([z.array(unit), z.array(z.array(unit))]).optional(),
  secrets: map,
  triggers: map,
  buildTimeout: duration.optional(),
  onError: z.enum(["cleanup", "abort"]).optional(),
  cache: cacheSchema.optional(),
  keep: z.number().int().min(0).max(100).optional(),
  adopt: z.string().min(1).optional(),
};

/** Exactly one of these options must be set. */
export function exactlyOne(...names: string[]): z.core.CheckFn<object> {
  return (context) => {
    const set = names.filter((name) => (context.value as Record<string, unknown>)[name] !== undefined);
    if (set.length === 1) return;
    context.issues.push({
      code: "custom",
      input: context.value,
      message: `expected exactly one of ${names.map((name) => `\`${name}\``).join(", ")}, got ${set.length === 0 ? "none" : set.map((name) => `\`${name}\``).join(" and ")}`,
    });
  };
}
