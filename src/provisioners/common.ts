import type { Duration } from "../core/duration";

/** What every provisioner takes. Same as in Packer, except that `timeout` holds beside `pauseBefore` too. */
export interface CommonProvisionerOptions {
  /** Wait before the step. Default: none. */
  pauseBefore?: Duration;
  /** The longest that one try of the step may take. Default: no limit but the build's. */
  timeout?: Duration;
  /** How often the whole step is tried again after a failure. Default: 0. */
  maxRetries?: number;
}
