import * as pulumi from "@pulumi/pulumi";
import { describeResource } from "../pulumi/describe";
import { provider } from "../pulumi/stub";

/** What a generation is made of. */
export interface GenerationArgs {
  /** What the containers run, as a hash: another one is another generation. */
  content: pulumi.Input<string>;
  replicas: pulumi.Input<number>;
  /** The network's addresses; one that is free by default. */
  wishedSubnet?: pulumi.Input<string>;
  host?: pulumi.Input<string | undefined>;
}

/**
 * The containers that run one version, as a number that counts on and addresses of their own. The addresses are fixed, so
 * that after any restart each container is where it was; and those of the version before are others.
 */
export class Generation extends pulumi.dynamic.Resource {
  /** Counts from 1. */
  declare readonly generation: pulumi.Output<number>;
  /** One for each replica. */
  declare readonly addresses: pulumi.Output<string[]>;
  /** Of the network that all of them are in, such as `198.18.6.0/23`. */
  declare readonly subnet: pulumi.Output<string>;
  declare readonly proxyAddress: pulumi.Output<string>;
  /** The part of the network for containers that others put into it. */
  declare readonly foreignRange: pulumi.Output<string>;

  constructor(name: string, args: GenerationArgs, options: pulumi.CustomResourceOptions = {}) {
    super(
      provider,
      name,
      {
        generation: undefined,
        addresses: undefined,
        next: undefined,
        subnet: undefined,
        proxyAddress: undefined,
        foreignRange: undefined,
        ...args,
        __kiln: describeResource({ module: "rollout", resource: "Generation" }, name, options),
      },
      options,
      "kiln/rollout",
      "Generation",
    );
  }
}
