import * as pulumi from "@pulumi/pulumi";
import type { Args } from "../pulumi/args";
import { describeResource, dropUndefined } from "../pulumi/describe";
import { provider } from "../pulumi/stub";
import type { HaproxySwitchOptions } from "./options";

export type * from "./options";

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
        __kiln: {
          ...describeResource({ module: "rollout", resource: "HaproxySwitch" }, name, options),
          // A preview answers where an update must ask.
          dryRun: pulumi.runtime.isDryRun(),
        },
      },
      options,
      "kiln/rollout",
      "HaproxySwitch",
    );
  }
}
