import * as pulumi from "@pulumi/pulumi";
import type { Artifact } from "../core/model";
import { describeResource } from "./describe";
import { provider } from "./stub";

/** An image as a resource. Abstract: use the one of your platform, e.g. `kiln.docker.Image`. */
export abstract class Image extends pulumi.dynamic.Resource {
  /** Hash of everything that shapes the image; the same wherever and whenever it is computed. */
  declare readonly fingerprint: pulumi.Output<string>;
  /** The build that made the image; also the name of its log. */
  declare readonly buildId: pulumi.Output<string>;
  /** Id of the builder's artifact. */
  declare readonly artifactId: pulumi.Output<string>;
  /** The builder's artifact and all that post-processors made. */
  declare readonly artifacts: pulumi.Output<Artifact[]>;

  /** For platforms: `credentials` are the options that must be secret in state, `outputs` what `create` gives beside the common ones. */
  protected constructor(
    platform: { module: string; resource: string; credentials: string[]; outputs: string[] },
    name: string,
    args: object,
    options: pulumi.CustomResourceOptions = {},
  ) {
    const outputs = ["fingerprint", "contents", "buildId", "artifactId", "artifacts", ...platform.outputs];
    const props: Record<string, unknown> = {};
    for (const output of outputs) props[output] = undefined;
    for (const [key, value] of Object.entries(args)) {
      if (value !== undefined) props[key] = platform.credentials.includes(key) ? pulumi.secret(value) : value;
    }
    props["__kiln"] = {
      ...describeResource(platform, name, options),
      project: pulumi.getProject(),
      stack: pulumi.getStack(),
      secretOptions: listSecretOptions(args, platform.credentials),
      retain: options.retainOnDelete ?? false,
    };
    // The SDK notes a stack trace for each property, to name promises that leak: half of a program's time with 20 images.
    const stackTraceLimit = Error.stackTraceLimit;
    if (!process.env["PULUMI_DEBUG_PROMISE_LEAKS"]) Error.stackTraceLimit = 0;
    try {
      super(provider, name, props, options, `kiln/${platform.module}`, platform.resource);
    } catch (error) {
      Error.stackTraceLimit = stackTraceLimit;
      if (error instanceof Error) Error.captureStackTrace(error);
      throw error;
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
  }
}

/** Nothing in it is to come: that cannot be a secret, and to find it out by promises takes a hundred times as long. */
function isPlain(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return typeof value !== "function";
  const prototype: unknown = Object.getPrototypeOf(value);
  const isData = Array.isArray(value) || prototype === Object.prototype || prototype === null;
  return isData && Object.values(value).every(isPlain);
}

/** Options into which a secret was interpolated, at any depth. */
async function listSecretOptions(args: object, credentials: readonly string[]): Promise<string[]> {
  const names: string[] = [];
  for (const [name, value] of Object.entries(args)) {
    if (credentials.includes(name) || isPlain(value)) continue;
    if (await pulumi.isSecret(pulumi.output(value as unknown))) names.push(name);
  }
  return names;
}
