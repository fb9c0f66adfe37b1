/** A build without the provider, which only a whole process can cancel. */
import * as path from "node:path";
import { runBuild } from "../../../src/core/build";
import { withContext } from "../../../src/core/context";
import { CancelledError } from "../../../src/core/errors";
import { BuildLog } from "../../../src/core/log";
import { createRedactor } from "../../../src/core/redact";
import { StageMemory } from "../../../src/core/stage-memory";
import type { QemuDriver } from "../../../src/platforms/qemu/driver";
import type { QemuImageOptions } from "../../../src/platforms/qemu/options";
import { QemuSite } from "../../../src/platforms/qemu/site";
import { definition as fileDefinition } from "../../../src/provisioners/file";
import { definition as shellDefinition } from "../../../src/provisioners/shell";
import { InjectedError } from "./faults";
import { fingerprintOf, makeInputs, program, type Resource } from "./provider-run";

const never = new AbortController().signal;
const owner = "p/s/0123456789abcdef";

/** What `buildAlone` left is given up: its claim, and its stages. */
export async function dropAll(driver: QemuDriver): Promise<void> {
  const site = new QemuSite(driver);
  for (const claim of await site.listClaims()) await site.dropClaim(claim, never);
  for (const mark of await site.listStages()) await site.dropStage(mark);
}

/** Builds as the provider would, with a stage after each step unless the resource has none. */
export async function buildAlone(
  driver: QemuDriver,
  resource: Resource,
  signal: AbortSignal,
): Promise<{ isBuilt: boolean; warnings: string[] }> {
  const warnings: string[] = [];
  const warn = (text: string): void => void warnings.push(text);
  const watcher = { update: () => undefined, tell: () => undefined, warn };
  const log = new BuildLog(path.join(program, "..", "logs"), "build", createRedactor([]), watcher);
  const claim = { owner, fingerprint: fingerprintOf("1"), id: "1-0000", state: "new" } as const;
  const options = makeInputs(resource, "1") as unknown as QemuImageOptions;
  const builder = new QemuSite(driver).createBuilder(options, undefined, claim);
  const provisioners = [
    shellDefinition.create({ inline: ["first"] }, undefined),
    fileDefinition.create({ content: "1", destination: "/srv/version" }, undefined),
  ];
  const steps = provisioners.map((provisioner, index) => ({ title: `step ${index}`, provisioner }));
  const staged = steps.map(({ title }) => ({
    title,
    identity: title,
    readIdentity: () => Promise.resolve(title),
    parts: {},
    cache: true,
    givenSecret: false,
    actsElsewhere: false,
  }));
  const stages =
    options.cache === false
      ? undefined
      : { memory: new StageMemory("here"), owner: "app", isRebuild: false, steps: staged };
  const about = { buildId: "build", name: "app", platform: "qemu", cwd: program, secrets: {}, steps: 0 };
  try {
    await withContext({ ...about, signal, log, hideCommands: false }, (context) =>
      runBuild(context, builder, steps, { stages }),
    );
    return { isBuilt: true, warnings };
  } catch (error) {
    if (!(error instanceof InjectedError || error instanceof CancelledError)) throw error;
    return { isBuilt: false, warnings };
  } finally {
    log.close();
  }
}
