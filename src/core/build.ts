import type { Artifact, Builder, Communicator, Provisioner, Provisioning } from "./model";
import type { BuildContext } from "./context";
import { withDeadline, sleep, throwIfAborted } from "./retry";
import { parseDuration } from "./duration";
import { runStaged, type StagedStep, type StageSettings } from "./stage-run";

/** A provisioner of one build, with what every provisioner has. */
export interface ProvisionerStep {
  title: string;
  provisioner: Provisioner;
  pauseBefore?: string;
  timeout?: string;
  maxRetries?: number;
}

/** What a build is told beside its steps. */
export interface BuildSettings {
  /** Undefined: no stage is used or made. */
  stages?: StageSettings & { steps: readonly StagedStep[] };
  onProvisioned?: () => void;
}

/** The pipeline: the builder makes the machine and calls back to have it provisioned. */
export function runBuild<A extends Artifact>(
  context: BuildContext,
  builder: Builder<A>,
  steps: readonly ProvisionerStep[],
  { stages, onProvisioned = () => undefined }: BuildSettings = {},
): Promise<A> {
  const provisioning: Provisioning = {
    steps,
    async run(communicator, keeper) {
      const runStep = (step: ProvisionerStep): Promise<void> =>
        context.step(step.title, () => runProvisioner(context, step, communicator));
      if (keeper && stages && steps.length > 0) {
        const staged = stages.steps.map((stage, index) => ({
          stage,
          run: () => runStep(stepAt(steps, index)),
        }));
        await runStaged(context, keeper, stages, staged);
      } else {
        await keeper?.openMachine(undefined, { isSaved: false });
        for (const step of steps) await runStep(step);
      }
      onProvisioned();
    },
  };
  return builder.build(context, provisioning);
}

function stepAt(steps: readonly ProvisionerStep[], index: number): ProvisionerStep {
  const step = steps[index];
  if (!step) throw new Error(`Looking up step ${index + 1} of a build: there are ${steps.length}`);
  return step;
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
