import type { Duration } from "../core/duration";

/** What every provisioner takes. Same as in Packer, except that `timeout` holds beside `pauseBefore` too. */
export interface CommonProvisionerOptions {
  /** Wait before the step. Default: none. */
  pauseBefore?: Duration;
  /** The longest that one try of the step may take. Default: no limit but the build's. */
  timeout?: Duration;
  /** How often the whole step is tried again after a failure. Default: 0. */
  maxRetries?: number;
  /**
   * Whether a stage is saved after the step, for later builds to start from. Default: if the step took longer than a stage
   * costs. After a step that was given a secret, or acts outside of the machine, there is none without `true`. Not in Packer.
   */
  cache?: boolean;
}
