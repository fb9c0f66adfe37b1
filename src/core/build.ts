import type { Artifact, Builder, Provisioner, Provisioning } from "./model";
import type { BuildContext } from "./context";
import { runStaged, type StagedStep, type StageSettings } from "./stage-run";
import { runTries, type TrySettings } from "./tries";

/** A provisioner of one build. */
export interface ProvisionerStep extends TrySettings {
  provisioner: Provisioner;
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
        context.step(step.title, () =>
          runTries(context, step, (inner) => step.provisioner.provision(inner, communicator)),
        );
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
