import { z } from "zod";
import type { CommonOptions } from "../../core/platform";
import { containsUnknown, imageShape, optionsSchema, schemaOf } from "../../core/schema";
import type { OptionsSchema, UnitOptions } from "../../core/model";
import { parseReference } from "./reference";

/** Credentials for one registry. */
export interface RegistryAuth {
  /** The registry's host, e.g. `ghcr.io`. Default: Docker Hub. */
  server?: string;
  username: string;
  password: string;
}

/** Options of `kiln.docker.Image`. Names are those of Packer's docker builder in camelCase. */
export interface DockerImageOptions extends CommonOptions {
  /** The image to start from: a reference, or an image id. */
  image: string;
  /** When to ask the registry for the source: "missing" (default), "always" (a moved tag rebuilds), "never". */
  pull?: "missing" | "always" | "never";
  /** Platform of the source and the result, e.g. `linux/arm64`. Default: the engine's. */
  platform?: string;
  /** User that the steps run as, and that owns what is uploaded. Default: the source's. Same as Packer's `exec_user`. */
  user?: string;
  /** Environment of the steps; it does not get into the image (use `changes` for that). */
  environment?: Record<string, string>;
  /** Mounts during the build, as `host:machine[:ro]`. What is in them does not get into the image. */
  volumes?: string[];
  /** Devices of the host, as `host[:machine[:permissions]]`. */
  devices?: string[];
  /** Folders in memory, as `path[:options]`. What is in them does not get into the image. */
  tmpfs?: string[];
  /** Run the build's container with all privileges. Default: false. */
  privileged?: boolean;
  /** Linux capabilities to add, e.g. `NET_ADMIN`. */
  capAdd?: string[];
  /** Linux capabilities to drop. */
  capDrop?: string[];
  /** Network of the build's container: `bridge`, `host`, `none` or a network's name. Default: the engine's. */
  network?: string;
  /** Instructions that change the image's configuration, as in a Dockerfile: `CMD`, `ENTRYPOINT`, `ENV`, `EXPOSE`, `LABEL`, `ONBUILD`, `USER`, `VOLUME`, `WORKDIR`, `HEALTHCHECK`, `STOPSIGNAL`, `SHELL`. */
  changes?: string[];
  /** Author in the image's history. */
  author?: string;
  /** Message in the image's history. */
  message?: string;
  /** Write the machine's files as a tar to this path, relative to the program's folder, and make no image. */
  exportPath?: string;
  /** Run the steps and make nothing. */
  discard?: boolean;
  /** The engine: `unix://`, `npipe://`, `tcp://` or `ssh://`. Default: `DOCKER_HOST`, the current Docker context, the default socket. */
  host?: string;
  /** Credentials of registries. Default: Docker's own configuration and credential helpers. */
  registryAuth?: RegistryAuth[];
  /** When the image is replaced or destroyed, also delete what was pushed, by its digest; also of an image that `keep` keeps here. Default: false. */
  deleteFromRegistry?: boolean;
}

const INSTRUCTIONS = [
  "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
]; // prettier-ignore

const change = z
  .string()
  .refine((text) => INSTRUCTIONS.includes(text.trim().split(/\s/)[0]?.toUpperCase() ?? ""), {
    error: `expected one of the instructions ${INSTRUCTIONS.join(", ")}`,
  });

const imageReference = z
  .string()
  .min(1)
  .superRefine((text, context) => {
    if (/^(sha256:)?[0-9a-f]{64}$/.test(text)) return;
    try {
      parseReference(text);
    } catch (error) {
      context.addIssue({
        code: "custom",
        message: "expected an image reference",
        params: { detail: (error as Error).message },
      });
    }
  });

/** Post-processors that work on an image of the engine, not on files. */
const IMAGE_UNITS = ["docker-tag", "docker-push", "docker-save"];

function listImageUnits(units: UnitOptions[] | UnitOptions[][]): { at: number[]; type: string }[] {
  return units
    .flatMap((unit, index) =>
      Array.isArray(unit)
        ? unit.map(({ type }, inner) => ({ at: [index, inner], type }))
        : [{ at: [index], type: unit.type }],
    )
    .filter(({ type }) => IMAGE_UNITS.includes(type));
}

const strings = z.array(z.string().min(1)).optional();
const map = z.record(z.string(), z.string()).optional();

export const dockerImageSchema: OptionsSchema<DockerImageOptions> = schemaOf<DockerImageOptions>()(
  optionsSchema({
    ...imageShape,
    image: imageReference,
    pull: z.enum(["missing", "always", "never"]).optional(),
    platform: z
      .string()
      .regex(/^[a-z0-9]+\/[a-z0-9_]+(\/[a-z0-9]+)?$/, "expected a platform such as linux/amd64")
      .optional(),
    user: z.string().min(1).optional(),
    environment: map,
    volumes: strings,
    devices: strings,
    tmpfs: strings,
    privileged: z.boolean().optional(),
    capAdd: strings,
    capDrop: strings,
    network: z.string().min(1).optional(),
    changes: z.array(change).optional(),
    author: z.string().optional(),
    message: z.string().optional(),
    exportPath: z.string().min(1).optional(),
    discard: z.boolean().optional(),
    host: z
      .string()
      .regex(
        /^(unix|npipe|tcp|http|https|ssh):\/\//,
        "expected an address that begins with unix://, npipe://, tcp:// or ssh://",
      )
      .optional(),
    registryAuth: z
      .array(
        optionsSchema({ server: z.string().min(1).optional(), username: z.string(), password: z.string() }),
      )
      .optional(),
    deleteFromRegistry: z.boolean().optional(),
    adopt: imageReference.optional(),
  }).check((context) => {
    const { exportPath, discard, postProcessors } = context.value;
    if (exportPath !== undefined && discard) {
      context.issues.push({
        code: "custom",
        input: context.value,
        message: "expected at most one of `exportPath` and `discard`",
      });
    }
    const without = discard ? "discard" : "exportPath";
    // An unknown path may turn out to be none.
    if (!discard && (exportPath === undefined || containsUnknown(exportPath))) return;
    for (const { at, type } of listImageUnits(postProcessors ?? [])) {
      context.issues.push({
        code: "custom",
        input: context.value,
        path: ["postProcessors", ...at],
        message: `\`${type}\` needs an image, and \`${without}\` makes none. Remove one of them`,
      });
    }
  }),
);
