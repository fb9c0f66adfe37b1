/** What the provider of a dynamic resource is not told by the engine, and gets in the hidden input `__kiln`. */
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";

const PACKAGE_FOLDER = path.resolve(__dirname, "..", "..");
const STATE_VERSION = 1;

/** Every output has it, for the SDK's own use. */
interface Waitable {
  promise(): Promise<string>;
}

/** `module` and `resource` are the two parts of the type token, e.g. "docker" and "Image". */
export function describeResource(
  { module, resource }: { module: string; resource: string },
  name: string,
  options: pulumi.CustomResourceOptions,
): Record<string, unknown> {
  const type = `pulumi-nodejs:dynamic/kiln/${module}:${resource}`;
  return {
    type: `${module}:${resource}`,
    stateVersion: STATE_VERSION,
    // The promise: an output would wait for the component that waits for this resource.
    urn: (pulumi.createUrn(name, type, options.parent) as unknown as Waitable).promise(),
    from: path.relative(process.cwd(), PACKAGE_FOLDER).split(path.sep).join("/"),
  };
}

/** What is set: an undefined property would look like an unknown one. */
export function dropUndefined<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
