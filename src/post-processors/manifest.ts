import * as fs from "node:fs/promises";
import * as path from "node:path";
import { z } from "zod";
import type { BuildContext } from "../core/context";
import { TimeoutError } from "../core/errors";
import { hashShort } from "../core/fingerprint";
import { takeLock, type HeldLock } from "../core/lock";
import type { Artifact, Definition, Json, PostProcessor } from "../core/model";
import { throwIfAborted, withDeadline } from "../core/retry";
import { optionsSchema, schemaOf } from "../core/schema";

const LOCK_WAIT_MS = 10_000;

/** Options of `kiln.manifest`. Same as Packer's `manifest`, and the file has the same form; the entry goes when its image does. */
export interface ManifestOptions {
  /** Default: `packer-manifest.json`. */
  output?: string;
  /** Write the files' names without their folders. Default: false. */
  stripPath?: boolean;
  /** Leave out `build_time`. Default: false. */
  stripTime?: boolean;
  /** Any values, written as `custom_data`. */
  customData?: Record<string, string>;
}

interface ManifestEntry {
  packer_run_uuid: string;
  [key: string]: Json;
}

interface ManifestFile {
  builds: ManifestEntry[];
  last_run_uuid: string;
}

const schema = schemaOf<ManifestOptions>()(
  optionsSchema({
    output: z.string().min(1).optional(),
    stripPath: z.boolean().optional(),
    stripTime: z.boolean().optional(),
    customData: z.record(z.string(), z.string()).optional(),
  }),
);

export const definition: Definition<ManifestOptions, PostProcessor> = {
  type: "manifest",
  schema,
  title: (options) => `manifest: ${options.output ?? "packer-manifest.json"}`,
  sources: () => [],
  placeOptions: ["output"],
  create: (options) => ({
    async process(context, input) {
      const output = options.output ?? "packer-manifest.json";
      const entry = await describeBuild(context, input, options);
      await changeManifest(path.resolve(context.cwd, output), context.signal, (manifest) => ({
        builds: [...manifest.builds, entry],
        last_run_uuid: context.buildId,
      }));
      return { artifact: input, made: [`manifest:${context.buildId}.${hashShort(entry)}:${output}`] };
    },
  }),
};

async function describeBuild(
  context: BuildContext,
  input: Artifact,
  options: ManifestOptions,
): Promise<ManifestEntry> {
  const files = (input.files ?? []).map(async (file) => ({
    name: options.stripPath ? path.basename(file) : file,
    size: (await fs.stat(path.resolve(context.cwd, file))).size,
  }));
  return {
    name: context.name,
    builder_type: context.platform,
    ...(options.stripTime ? {} : { build_time: Math.floor(Date.now() / 1000) }),
    files: files.length === 0 ? null : await Promise.all(files),
    artifact_id: input.id,
    packer_run_uuid: context.buildId,
    custom_data: options.customData ?? null,
  };
}

/**
 * Takes an entry out again, and the file with its last entry. `made` is what `process` noted, without its scheme: the build,
 * a hash of the entry, which tells it from others of the build, and the file. Older states have no hash: they mean all of them.
 */
export async function removeFromManifest(made: string, cwd: string, signal: AbortSignal): Promise<void> {
  const [owner = "", ...rest] = made.split(":");
  const [buildId, hash] = owner.split(".");
  const file = path.resolve(cwd, rest.join(":"));
  const exists = await fs.access(file).then(
    () => true,
    () => false,
  );
  if (!exists) return;
  await changeManifest(file, signal, (manifest) => ({
    ...manifest,
    builds: manifest.builds.filter(
      (entry) => entry.packer_run_uuid !== buildId || (hash !== undefined && hashShort(entry) !== hash),
    ),
  }));
}

/** Several builds of one run may write at once, in this process and in others of this machine. */
async function changeManifest(
  file: string,
  signal: AbortSignal,
  change: (manifest: ManifestFile) => ManifestFile,
): Promise<void> {
  await fs.mkdir(path.dirname(file), { recursive: true });
  const lock = await lockManifest(file, signal);
  try {
    const manifest = change(await readManifest(file));
    if (manifest.builds.length === 0) return await fs.rm(file, { force: true });
    await fs.writeFile(`${file}.draft`, `${JSON.stringify(manifest, null, 2)}\n`);
    await fs.rename(`${file}.draft`, file);
  } finally {
    lock.release();
  }
}

/** Who holds it needs it for a moment only: what takes longer hangs. */
async function lockManifest(file: string, signal: AbortSignal): Promise<HeldLock> {
  const lock = `${file}.lock`;
  try {
    return await withDeadline(`Locking the manifest ${file}`, LOCK_WAIT_MS, signal, (inner) =>
      takeLock(lock, inner),
    );
  } catch (error) {
    throwIfAborted(signal);
    if (!(error instanceof TimeoutError)) throw error;
    throw new Error(
      `Locking the manifest ${file}: another process has held ${lock} for ${LOCK_WAIT_MS / 1000} s. If no build is running, remove that file`,
      { cause: error },
    );
  }
}

async function readManifest(file: string): Promise<ManifestFile> {
  try {
    return JSON.parse(await fs.readFile(file, "utf8")) as ManifestFile;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { builds: [], last_run_uuid: "" };
    throw new Error(`Reading the manifest ${file}: ${(error as Error).message}. Repair or remove it`, {
      cause: error,
    });
  }
}
