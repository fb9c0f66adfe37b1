import type { Artifact, Builder, Communicator, Provisioner, Provisioning } from "./model";
import type { BuildContext } from "./context";
import { withDeadline, sleep, throwIfAborted } from "./retry";
import { parseDuration } from "./duration";

/** A provisioner of one build, with what every provisioner has. */
export interface ProvisionerStep {
  title: string;
  provisioner: Provisioner;
  pauseBefore?: string;
  timeout?: string;
  maxRetries?: number;
}

/** The pipeline: the builder makes the machine and calls back to have it provisioned. */
export function runBuild<A extends Artifact>(
  context: BuildContext,
  builder: Builder<A>,
  steps: readonly ProvisionerStep[],
  onProvisioned: () => void = () => undefined,
): Promise<A> {
  const provisioning: Provisioning = {
    steps,
    async run(communicator) {
      for (const step of steps)
        await context.step(step.title, () => runProvisioner(context, step, communicator));
      onProvisioned();
    },
  };
  return builder.build(context, provisioning);
}

/** Each try pauses and gets its whole time anew, as in Packer; unlike there, `timeout` holds beside `pauseBefore` too. */
async function runProvisioner(
  context: BuildContext,
  step: ProvisionerStep,
  communicator: Communicator,
): Promise<void> {
  const timeoutMs = step.timeout === undefined ? undefined : parseDuration(step.timeout);
  const tries = (step.maxRetries ?? 0) + 1;
  let first: unknown;
  for (let attempt = 1; attempt <= tries; attempt++) {
    try {
      if (step.pauseBefore) await sleep(parseDuration(step.pauseBefore), context.signal);
      await withDeadline(`${step.title} (timeout ${step.timeout})`, timeoutMs, context.signal, (signal) =>
        step.provisioner.provision({ ...context, signal }, communicator),
      );
      return;
    } catch (error) {
      throwIfAborted(context.signal);
      first ??= error;
      if (attempt < tries) context.log.info(`try ${attempt} of ${tries} failed; again`);
    }
  }
  throw first;
}
