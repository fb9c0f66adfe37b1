import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import type { Args } from "../pulumi/args";
import { provider } from "../pulumi/stub";
import type { HaproxySwitchOptions } from "./options";

export type * from "./options";

const PACKAGE_FOLDER = path.resolve(__dirname, "..", "..");
const STATE_VERSION = 1;

/** Arguments of `HaproxySwitch`. */
export type HaproxySwitchArgs = Args<HaproxySwitchOptions>;

/**
 * Sends the traffic of a running HAProxy (2.6 or newer) from one set of servers to the next, so that no request is lost:
 * waits until the proxy sees the new ones healthy, moves all new requests in one step, and lets the old ones finish.
 */
export class HaproxySwitch extends pulumi.dynamic.Resource {
  /** The backend that serves. */
  declare readonly active: pulumi.Output<string>;
  /** What serves. */
  declare readonly version: pulumi.Output<string>;

  constructor(name: string, args: HaproxySwitchArgs, options: pulumi.CustomResourceOptions = {}) {
    const { proxy, servers, version, health, drain, configuration, host } = args;
    super(
      provider,
      name,
      {
        active: undefined,
        ...dropUndefined({ proxy, servers, version, health, drain, configuration, host }),
        ...(args.certificates === undefined ? {} : { certificates: pulumi.secret(args.certificates) }),
        __kiln: describeRollout("HaproxySwitch", name, options),
      },
      options,
      "kiln/rollout",
      "HaproxySwitch",
    );
  }
}

/** Every output has it, for the SDK's own use. */
interface Waitable {
  promise(): Promise<string>;
}

/** What the provider is not told by the engine. */
export function describeRollout(
  resource: string,
  name: string,
  options: pulumi.CustomResourceOptions,
): Record<string, unknown> {
  const type = `pulumi-nodejs:dynamic/kiln/rollout:${resource}`;
  return {
    type: `rollout:${resource}`,
    stateVersion: STATE_VERSION,
    // The promise: an output would wait for the component that waits for this resource.
    urn: (pulumi.createUrn(name, type, options.parent) as unknown as Waitable).promise(),
    from: path.relative(process.cwd(), PACKAGE_FOLDER).split(path.sep).join("/"),
    // A preview answers where an update must ask.
    dryRun: pulumi.runtime.isDryRun(),
  };
}

function dropUndefined(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
