import { randomBytes } from "node:crypto";
import { ValidationError, type Problem } from "../core/errors";
import { computeFingerprint, hashShort } from "../core/fingerprint";
import type { Json, UnitOptions } from "../core/model";
import type { CommonOptions, Platform } from "../core/platform";
import { containsUnknown, UNKNOWN, validate } from "../core/schema";
import { SHORTEST_SECRET } from "../core/redact";
import { cutTrees, hashSources, SourceProblems, type SourceTree } from "../core/source-tree";
import { findBase } from "./base";
import { logOf } from "./engine-log";
import { readKeep } from "./kept";
import { recall, type ResourceMemory } from "./memory";
import { requirePlatform } from "./platforms";
import { predict } from "./predict";
import { COMPUTED, nameOf, type Inputs } from "./state";
import {
  findMissingSecrets,
  findNamelessSources,
  identifyUnit,
  listSources,
  readUnits,
  relativizePath,
  relativizeUnit,
  type Unit,
} from "./units";

/** Validates, hashes the sources, and predicts what dependents use. Never fails because an engine or registry does not answer. */
export async function checkInputs(olds: Partial<Inputs>, news: Inputs): Promise<Inputs> {
  const platform = requirePlatform(news.__kiln.type);
  const options = localize(platform, readOptions(platform, news));
  const units = readUnits(platform, options, news.__kiln.secretOptions);
  const all = [...units.provisioners, ...units.sequences.flat()];
  for (const unit of all) relativizeUnit(unit, process.cwd());
  const problems = [
    ...validateOptions(platform, options, news.__kiln.secretOptions),
    ...units.problems,
    ...findNamelessSources(all),
    ...findMissingSecrets(all, options.secrets),
  ];
  const trees = await readSources(
    all.filter((unit) => unit.valid),
    problems,
  );
  const ownSources = platform.listSources?.(options) ?? [];
  const ownTrees = await readOwnSources(ownSources, problems);
  if (problems.length > 0) throw new ValidationError(problems);
  warnAboutShortSecrets(news, options);

  const baseDigest = await findBase(platform, options, olds, news);
  const provisioners = units.provisioners.map((unit) => identifyUnit(unit, trees.get(unit) ?? []));
  const postSources = units.sequences
    .flat()
    .flatMap((unit) => trees.get(unit) ?? [])
    .map((tree) => tree.hash);
  const identity = {
    ...platform.identify(options),
    triggers: options.triggers as Json | undefined,
    // A step of an unknown kind is not among the units.
    provisioners: hasUnknownUnit(options.provisioners) ? UNKNOWN : provisioners,
    base: baseDigest,
    ...(ownSources.length === 0 ? {} : { sources: identifyTrees(ownSources, ownTrees) }),
  };
  // One that comes in was kept by `ignoreChanges`: the user has frozen the image.
  const fingerprint =
    news.fingerprint ?? (containsUnknown(identity) ? UNKNOWN : computeFingerprint(identity));

  const memory = remember(olds, news, fingerprint);
  memory.sources = JSON.stringify(provisioners);
  memory.keep = readKeep(options);
  memory.planned = listPlanned(platform, options, news, units.sequences);
  return {
    ...options,
    ...putBack(options, units),
    ...(await predict(platform, options, olds, news, fingerprint, memory)),
    ...(containsUnknown(options.postProcessors) ? {} : platform.predictOutputs(options)),
    fingerprint,
    contents:
      news.contents ??
      cutTrees(
        [...ownTrees, ...units.provisioners.flatMap((unit) => trees.get(unit) ?? [])].map((tree) => ({
          name: tree.path,
          tree,
        })),
      ),
    ...(baseDigest === undefined ? {} : { baseDigest }),
    __kiln: {
      ...news.__kiln,
      lineage: memory.lineage,
      ...(postSources.length === 0 ? {} : { postSources: hashShort(postSources) }),
    },
    __provider: news.__provider,
  };
}

function hasUnknownUnit(units: unknown): boolean {
  return (
    units === UNKNOWN ||
    (Array.isArray(units) &&
      units.some((unit: unknown) => unit === UNKNOWN || (unit as UnitOptions).type === UNKNOWN))
  );
}

/** The user's own options: what is computed, or hidden, or not set is left out. */
export function readOptions(platform: Platform, inputs: Partial<Inputs>): CommonOptions {
  const computed = new Set([...COMPUTED, ...platform.outputNames, "__kiln", "__provider", "__state"]);
  return Object.fromEntries(
    Object.entries(inputs).filter(
      ([name, value]) => !computed.has(name) && value !== undefined && value !== null,
    ),
  );
}

function localize(platform: Platform, options: CommonOptions): CommonOptions {
  return platform.localize?.(options, (text) => relativizePath(text, process.cwd())) ?? options;
}

/** Relative paths are what the state gets. A list with something unknown in it stays as it came. */
function putBack(
  options: CommonOptions,
  units: { provisioners: Unit[]; sequences: Unit[][] },
): Partial<CommonOptions> {
  const plain = (unit: Unit): UnitOptions => ({ type: unit.definition.type, ...unit.options });
  const changed: Partial<CommonOptions> = {};
  if (options.provisioners?.length === units.provisioners.length)
    changed.provisioners = units.provisioners.map(plain);
  const [first = []] = units.sequences;
  const lists = options.postProcessors;
  if (!Array.isArray(lists) || containsUnknown(lists)) return changed;
  changed.postProcessors = lists.some(Array.isArray)
    ? units.sequences.map((sequence) => sequence.map(plain))
    : first.map(plain);
  return changed;
}

function validateOptions(
  platform: Platform,
  options: CommonOptions,
  secretOptions: readonly string[],
): Problem[] {
  const hidden = new Set([...platform.credentialOptions, ...secretOptions]);
  const isHidden = (problem: Problem): boolean => hidden.has(/^\w+/.exec(problem.path)?.[0] ?? "");
  const problems = validate(platform.schema, options);
  if (!problems.some(isHidden)) return problems;
  const quiet = validate(platform.schema, options, { hideValues: true });
  return [...problems.filter((problem) => !isHidden(problem)), ...quiet.filter(isHidden)];
}

/** The trees of each unit's sources; what cannot be read is added to the problems. */
async function readSources(units: readonly Unit[], problems: Problem[]): Promise<Map<Unit, SourceTree[]>> {
  const trees = new Map<Unit, SourceTree[]>();
  for (const unit of units) {
    try {
      trees.set(unit, await hashSources(listSources(unit), { cwd: process.cwd() }));
    } catch (error) {
      if (!(error instanceof SourceProblems)) throw error;
      problems.push(
        ...error.problems.map(({ path, reason }) => ({
          path: "",
          reason: `${path} (a source of ${unit.at.join(".")}) ${reason}`,
        })),
      );
    }
  }
  return trees;
}

function identifyTrees(sources: readonly unknown[], trees: readonly SourceTree[]): Json {
  return containsUnknown(sources) ? UNKNOWN : trees.map(({ hash }) => hash);
}

/** Of what the platform itself sends into the machine. */
async function readOwnSources(all: readonly { path: string }[], problems: Problem[]): Promise<SourceTree[]> {
  const sources = all.filter((source) => !containsUnknown(source));
  if (problems.length > 0 || sources.length === 0) return [];
  try {
    return await hashSources(sources, { cwd: process.cwd() });
  } catch (error) {
    if (!(error instanceof SourceProblems)) throw error;
    problems.push(...error.problems.map(({ path, reason }) => ({ path: "", reason: `${path} ${reason}` })));
    return [];
  }
}

/** Names of secrets that are too short to be masked. Unknown as a whole, they arrive as one string. */
export function listShortSecrets(secrets: Record<string, string> | string | undefined): string[] {
  if (typeof secrets === "string") return [];
  return Object.entries(secrets ?? {})
    .filter(([, value]) => value !== UNKNOWN && value.length < SHORTEST_SECRET)
    .map(([name]) => name);
}

function warnAboutShortSecrets(news: Inputs, options: CommonOptions): void {
  const log = logOf(news.__kiln.urn);
  for (const name of listShortSecrets(options.secrets))
    log.warnOnce(
      `the secret ${name} is shorter than ${SHORTEST_SECRET} characters: it cannot be masked in logs`,
    );
  const interpolated = news.__kiln.secretOptions.filter(
    (name) => name === "provisioners" || name === "postProcessors",
  );
  if (interpolated.length > 0) {
    log.warnOnce(
      `${interpolated.join(" and ")} hold a secret value: their commands and output are not shown, and differences are not readable. Put it into \`secrets\` and name it in \`secretEnvironment\``,
    );
  }
}

function remember(olds: Partial<Inputs>, news: Inputs, fingerprint: string): ResourceMemory {
  const memory = recall(news.__kiln.urn);
  // A replacement checks a second time, without the old inputs: the first time knew more.
  if (olds.fingerprint !== undefined) {
    memory.moved = olds.fingerprint !== fingerprint;
    memory.hasState = true;
  }
  memory.checked = true;
  memory.lineage = olds.__kiln?.lineage ?? memory.lineage ?? randomBytes(4).toString("hex");
  return memory;
}

function listPlanned(
  platform: Platform,
  options: CommonOptions,
  news: Inputs,
  sequences: readonly Unit[][],
): string[] {
  const context = { name: nameOf(news.__kiln.urn), platform: platform.name };
  const files = platform.listFiles?.(options) ?? [];
  const made = sequences
    .flat()
    .filter(({ options }) => !containsUnknown(options))
    .flatMap((unit) => unit.definition.planMade?.(unit.options, context) ?? []);
  return [...files.map((file) => `file:${file}`), ...made];
}
