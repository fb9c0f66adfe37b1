import { randomBytes } from "node:crypto";
import * as path from "node:path";
import { withContext, type BuildContext } from "../core/context";
import { parseDuration } from "../core/duration";
import { CancelledError, describeError } from "../core/errors";
import { stateFolder } from "../core/folders";
import { BuildLog } from "../core/log";
import type { CommonOptions, Platform, Site } from "../core/platform";
import { createRedactor } from "../core/redact";
import { withDeadline } from "../core/retry";
import { hashSources } from "../core/source-tree";
import { runPostProcessors, type PostProcessRecord, type PostProcessResult } from "../core/post-process";
import type { Artifact } from "../core/model";
import { readOptions } from "./check";
import { cancellable, trackCleaning } from "./cancel";
import { flushLog } from "./engine-log";
import { IncompleteError } from "./incomplete";
import { removeMade } from "./made";
import { requirePlatform } from "./platforms";
import { BuildProgress } from "./progress";
import { nameOf, type Inputs } from "./state";
import { identifyUnit, listSources, readUnits, toPostProcessorStep, type Unit } from "./units";

const DEFAULT_BUILD_TIMEOUT = "30m";
/** What stands beside secrets in an option and is none: it would mask half of a log. */
const PUBLIC_TEXTS: Record<string, readonly string[]> = {
  registryAuth: ["server", "username"],
  provisioners: ["type"],
  postProcessors: ["type"],
};

/** One create or update of one image: its options, its place, its log. */
export interface Operation {
  buildId: string;
  inputs: Inputs;
  platform: Platform;
  options: CommonOptions;
  site: Site<CommonOptions>;
  engineId: string;
  units: { provisioners: Unit[]; sequences: Unit[][] };
  hideText: boolean;
  signal: AbortSignal;
  /** Runs `work` with its log, its display and its undos. */
  run<T>(extraSteps: number, work: (context: BuildContext) => Promise<T>): Promise<T>;
}

export function runOperation<T>(inputs: Inputs, work: (operation: Operation) => Promise<T>): Promise<T> {
  return cancellable(async (signal) => {
    try {
      const platform = requirePlatform(inputs.__kiln.type);
      const options = readOptions(platform, inputs);
      const site = await platform.connect(options, { signal });
      const operation: Operation = {
        buildId: Date.now().toString(36) + randomBytes(3).toString("hex"),
        inputs,
        platform,
        options,
        site,
        engineId: await site.readId(signal),
        units: readUnits(platform, options, inputs.__kiln.secretOptions),
        hideText: inputs.__kiln.secretOptions.some(
          (name) => name === "provisioners" || name === "postProcessors",
        ),
        signal,
        run: (extraSteps, inner) => runLogged(operation, extraSteps, inner),
      };
      return await work(operation);
    } finally {
      await flushLog();
    }
  });
}

async function runLogged<T>(
  operation: Operation,
  ownSteps: number,
  work: (context: BuildContext) => Promise<T>,
): Promise<T> {
  const { inputs, options, platform, buildId, units } = operation;
  const name = nameOf(inputs.__kiln.urn);
  const progress = new BuildProgress(inputs.__kiln.urn);
  const folder = path.join(
    stateFolder(),
    "logs",
    inputs.__kiln.project,
    inputs.__kiln.stack,
    name.replace(/[^\w.-]/g, "_"),
  );
  const log = new BuildLog(folder, buildId, createRedactor(listSecretValues(platform, inputs)), progress);
  let cleaning = Promise.resolve();
  try {
    const timeout = options.buildTimeout ?? DEFAULT_BUILD_TIMEOUT;
    return await withDeadline(
      `Building ${name} (buildTimeout ${timeout})`,
      parseDuration(timeout),
      operation.signal,
      (signal) =>
        withContext(
          {
            buildId,
            name,
            platform: platform.name,
            cwd: process.cwd(),
            signal,
            log,
            secrets: options.secrets ?? {},
            hideCommands: operation.hideText,
            keepOnFailure: options.onError === "abort",
            onCleaning: (done) => {
              cleaning = done;
            },
            steps: ownSteps + units.sequences.flat().length,
          },
          work,
        ),
    );
  } catch (error) {
    throw explainFailure(error, log);
  } finally {
    progress.stop();
    trackCleaning(cleaning.finally(() => log.close()));
  }
}

function explainFailure(error: unknown, log: BuildLog): Error {
  const text = log.redact(describeError(error));
  log.info(`failed: ${text}`);
  if (error instanceof IncompleteError)
    return new IncompleteError(
      error.id,
      error.properties,
      error.reasons.map((reason) => log.redact(reason)),
    );
  if (error instanceof CancelledError) return new CancelledError(`${text}. Log: ${log.file}`);
  return new Error(`${text}\nLog: ${log.file}`, { cause: error });
}

/** Every credential in the options, and every text in an option that a secret was interpolated into: which part of it is one, nobody tells. */
export function listSecretValues(platform: Platform, inputs: Inputs): string[] {
  const names = new Set(["secrets", ...platform.credentialOptions, ...inputs.__kiln.secretOptions]);
  return [...names].flatMap((name) => listTexts(inputs[name], PUBLIC_TEXTS[name] ?? []));
}

/** All texts in a value, however deep; of the outermost objects not what is public. */
function listTexts(value: unknown, publicNames: readonly string[]): string[] {
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null) return [];
  if (Array.isArray(value)) return value.flatMap((item) => listTexts(item, publicNames));
  return Object.entries(value).flatMap(([name, item]) =>
    publicNames.includes(name) ? [] : listTexts(item, []),
  );
}

/** Runs what is new or changed among the post-processors, and undoes what earlier ones made and these do not. */
export async function postProcess(
  operation: Operation,
  context: BuildContext,
  artifact: Artifact,
  previous: readonly PostProcessRecord[],
): Promise<PostProcessResult> {
  const { site, units } = operation;
  const toStep = async (unit: Unit): Promise<ReturnType<typeof toPostProcessorStep>> => {
    const trees = await hashSources(listSources(unit), { cwd: context.cwd, signal: context.signal });
    return toPostProcessorStep(unit, identifyUnit(unit, trees), site, context);
  };
  const sequences = await Promise.all(units.sequences.map((sequence) => Promise.all(sequence.map(toStep))));
  return runPostProcessors(context, artifact, sequences, previous, (made) =>
    removeMade(made, { site, artifact, cwd: context.cwd, deleteRemote: false, signal: context.signal }),
  );
}
