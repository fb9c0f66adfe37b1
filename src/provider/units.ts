/** From the user's plain data to units: finds definitions, validates, and says what of them is identity. */
import * as path from "node:path";
import type { ProvisionerStep } from "../core/build";
import type { BuildContext } from "../core/context";
import type { Problem } from "../core/errors";
import type { Definition, Json, PostProcessor, Provisioner, UnitOptions } from "../core/model";
import type { CommonOptions, Platform, Site } from "../core/platform";
import type { PostProcessorStep } from "../core/post-process";
import { containsUnknown, UNKNOWN, validate } from "../core/schema";
import { cutTrees, hashSources, type SourceSpec, type SourceTree } from "../core/source-tree";
import { hashParts } from "../core/stage-reason";
import type { StagedStep } from "../core/stage-run";
import type { TrySettings } from "../core/tries";
import * as postProcessors from "../post-processors";
import * as provisioners from "../provisioners";

/** How many files of a step are told apart when it is said which of them changed. */
const NAMED_FILES = 64;

type AnyDefinition = Definition<Record<string, unknown>, unknown>;
type Table = Map<string, () => AnyDefinition>;

/** A unit of the options, with its place in them. */
export interface Unit {
  at: PropertyKey[];
  definition: AnyDefinition;
  /** Without `type`. */
  options: Record<string, unknown>;
  /** Its options fit their schema, as far as they are known. */
  valid: boolean;
}

interface Row {
  unitType: string;
  load: () => unknown;
}

function makeTable(rows: readonly Row[]): Table {
  return new Map(rows.map((row) => [row.unitType, row.load as () => AnyDefinition]));
}

const provisionerTable = makeTable(Object.values(provisioners));
const neutralPostProcessors: readonly Row[] = [...Object.values(postProcessors), provisioners.shellLocal];

/** Provisioners and post-processors of the options, and what is wrong with them; values in `secretOptions` are not quoted. */
export function readUnits(
  platform: Platform,
  options: CommonOptions,
  secretOptions: readonly string[],
): { provisioners: Unit[]; sequences: Unit[][]; problems: Problem[] } {
  const problems: Problem[] = [];
  const postTable = makeTable([...neutralPostProcessors, ...platform.postProcessors]);
  const read = (units: unknown, table: Table, at: PropertyKey[]): Unit[] => {
    if (!Array.isArray(units)) return [];
    const hideValues = secretOptions.includes(String(at[0]));
    return units.flatMap((unit, index) => readUnit(unit, table, [...at, index], problems, hideValues) ?? []);
  };
  const lists: unknown = options.postProcessors ?? [];
  const isNested = Array.isArray(lists) && lists.some(Array.isArray);
  return {
    provisioners: read(options.provisioners, provisionerTable, ["provisioners"]),
    sequences: isNested
      ? (lists as unknown[]).map((list, index) => read(list, postTable, ["postProcessors", index]))
      : [read(lists, postTable, ["postProcessors"])],
    problems,
  };
}

function readUnit(
  unit: unknown,
  table: Table,
  at: PropertyKey[],
  problems: Problem[],
  hideValues: boolean,
): Unit | undefined {
  if (typeof unit !== "object" || unit === null) return undefined; // the schema of the whole has said so
  const { type, ...options } = unit as UnitOptions;
  if (type === UNKNOWN) return undefined;
  const definition = table.get(type)?.();
  if (!definition) {
    const known = [...table.keys()].join(", ");
    problems.push({
      path: "",
      reason: `${describePlace(at)}: \`${type}\` cannot be used here; known are ${known}`,
    });
    return undefined;
  }
  const found = validate(definition.schema, options, { prefix: at, hideValues });
  problems.push(...found);
  return { at, definition, options, valid: found.length === 0 };
}

function describePlace(at: readonly PropertyKey[]): string {
  return at.map((key) => (typeof key === "number" ? `[${key}]` : String(key))).join("");
}

/** Secrets that units name and the map does not hold. */
export function findMissingSecrets(
  units: readonly Unit[],
  secrets: Record<string, string> | undefined,
): Problem[] {
  if (containsUnknown(secrets)) return [];
  const known = Object.keys(secrets ?? {});
  return units.flatMap(({ at, definition, options }) => {
    const names = containsUnknown(options["secretEnvironment"])
      ? []
      : (definition.secretNames?.(options) ?? []);
    // What is no list is a problem of its own.
    return (Array.isArray(names) ? names : [])
      .filter((name) => !known.includes(name))
      .map((name) => ({
        path: `${describePlace(at)}.secretEnvironment`,
        reason: `"${name}" is not in \`secrets\` (${known.length === 0 ? "which is empty" : `there are: ${known.join(", ")}`})`,
      }));
  });
}

/** Absolute paths below or beside the program's folder become relative, so that no machine's folders reach the state. */
export function relativizeUnit(unit: Unit, cwd: string): void {
  const { definition, options } = unit;
  const names = [...(definition.pathOptions?.(options) ?? []), ...(definition.placeOptions ?? [])];
  for (const name of names) {
    const value = options[name];
    if (typeof value === "string") options[name] = relativizePath(value, cwd);
    if (Array.isArray(value))
      options[name] = value.map((item) =>
        typeof item === "string" ? relativizePath(item, cwd) : (item as unknown),
      );
  }
}

/**
 * Relative to the program's folder, if it shares a folder with that. What shares only the root is a system's path: it is
 * the same on each machine, while a relative one would tell how deep the program lies.
 */
export function relativizePath(text: string, cwd: string): string {
  if (!path.isAbsolute(text)) return text;
  const shared = firstFolder(cwd);
  if (shared !== path.parse(cwd).root && shared !== firstFolder(text)) return text;
  const relative = path.relative(cwd, text).split(path.sep).join("/") || ".";
  return /[/\\]$/.test(text) ? `${relative}/` : relative;
}

/** `/home` of `/home/me/app`; the root of the root itself. */
function firstFolder(text: string): string {
  const { root } = path.parse(text);
  return root + (path.relative(root, text).split(path.sep)[0] ?? "");
}

/** Sources that would get a name which the options do not say, once their paths are relative: it would differ from clone to clone. */
export function findNamelessSources(units: readonly Unit[]): Problem[] {
  const isNameless = (unit: Unit): boolean =>
    unit.valid &&
    !hasUnknownPaths(unit) &&
    (unit.definition.nameSources?.(unit.options) ?? []).some((name) => name === "." || name === "..");
  return units.filter(isNameless).map(({ at }) => ({
    path: describePlace(at),
    reason:
      'the source is the program\'s own folder, or one that ends in `.` or `..`: which name it gets in the machine would depend on where the program lies. End it with "/" for its contents, and put the name that you want into `destination`',
  }));
}

/** Local files of a unit. What is not known yet has none. */
export function listSources(unit: Unit): SourceSpec[] {
  return hasUnknownPaths(unit) ? [] : unit.definition.sources(unit.options);
}

/** A list that is not known yet arrives as a string, which no definition expects. */
function hasUnknownPaths({ definition, options }: Unit): boolean {
  const names = [...(definition.pathOptions?.(options) ?? []), "ignore"];
  return names.some((name) => containsUnknown(options[name]));
}

/** What of a unit belongs into a fingerprint. */
export function identifyUnit(unit: Unit, trees: readonly SourceTree[]): Json {
  const { definition, options } = unit;
  if (hasUnknownPaths(unit)) return UNKNOWN;
  return {
    type: definition.type,
    options: keepIdentity(unit) as Json,
    names: definition.nameSources?.(options) ?? [],
    sources: trees.map((tree) => `${tree.kind}:${tree.hash}`),
  };
}

function keepIdentity({ definition, options }: Unit): Record<string, unknown> {
  const left = new Set<string>([
    "cache",
    ...(definition.notIdentity ?? []),
    ...(definition.pathOptions?.(options) ?? []),
  ]);
  return Object.fromEntries(Object.entries(options).filter(([name]) => !left.has(name)));
}

/** What decides about a stage after this provisioner; `isSecret` if a secret was interpolated into what it runs with. */
export async function toStagedStep(
  unit: Unit,
  place: { cwd: string; signal: AbortSignal },
  hide: { text: boolean; isSecret: boolean },
): Promise<StagedStep> {
  const { definition, options } = unit;
  const readTrees = (): Promise<SourceTree[]> => hashSources(listSources(unit), place);
  const trees = await readTrees();
  const files = cutTrees(
    trees.map((tree) => ({ name: tree.path, tree })),
    NAMED_FILES,
  );
  return {
    title: hide.text ? definition.type : definition.title(options),
    identity: identifyUnit(unit, trees),
    readIdentity: async () => identifyUnit(unit, await readTrees()),
    parts: { ...hashParts({ type: definition.type, ...keepIdentity(unit) }), ...files },
    cache: options["cache"] as boolean | undefined,
    givenSecret: hide.isSecret || (definition.secretNames?.(options) ?? []).length > 0,
    actsElsewhere: definition.actsElsewhere?.(options) ?? false,
  };
}

export function toProvisionerStep(unit: Unit, site: Site<CommonOptions>, hideText: boolean): ProvisionerStep {
  const { definition, options } = unit;
  return {
    ...readTrySettings(unit, hideText),
    provisioner: definition.create(options, site) as Provisioner,
  };
}

export function toPostProcessorStep(
  unit: Unit,
  identity: Json,
  site: Site<CommonOptions>,
  context: BuildContext,
): PostProcessorStep {
  const { definition, options } = unit;
  return {
    ...readTrySettings(unit, context.hideCommands),
    type: definition.type,
    identity,
    planned: definition.planMade?.(options, context) ?? [],
    postProcessor: definition.create(options, site) as PostProcessor,
  };
}

/** Where the schema has no such options, there are none. */
function readTrySettings({ definition, options }: Unit, hideText: boolean): TrySettings {
  return {
    title: hideText ? definition.type : definition.title(options),
    pauseBefore: options["pauseBefore"] as string | undefined,
    timeout: options["timeout"] as string | undefined,
    maxRetries: options["maxRetries"] as number | undefined,
  };
}
