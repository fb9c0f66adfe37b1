import * as fs from "node:fs";
import * as path from "node:path";
import type { Claim } from "../../core/claims";
import type { BuildContext } from "../../core/context";
import { parseDuration } from "../../core/duration";
import { sha256File } from "../../core/content-hash";
import type { Artifact, Builder, Provisioning } from "../../core/model";
import { withDeadline } from "../../core/retry";
import { hideSecrets } from "../../machines/http-request";
import { testImage } from "./boot-test";
import { writeImage } from "./capture";
import { noteDrafts, removeDrafts } from "./drafts";
import type { Disk, QemuDriver } from "./driver";
import { findKind } from "./kind";
import { rememberImage } from "./image-files";
import type { Ledger } from "./ledger";
import { BuildMachine, type MachineSetup } from "./machine";
import type { BootTestOptions, QemuImageOptions } from "./options";
import { nameImage, nameNewImage, nameVariables } from "./place";
import { nameMachine } from "./run-folder";
import { sealMachine } from "./seal";
import { findSource } from "./source";
import type { StageStore } from "./stage-store";
import { QemuStages } from "./stages";

export interface QemuArtifact extends Artifact {
  kind: "qemu-image";
  /** The image, and its UEFI variables if it has any. */
  files: string[];
  data: {
    format: string;
    sizeBytes: number;
    /** Of the machine's disk. */
    virtualSizeBytes: number;
    /** Where it is: the machine's name, and the path from the program's folder. */
    places: { machine: string; path: string }[];
    /** It was there before: it is never removed. */
    isAdopted?: true;
  };
}

export interface QemuBuilderOptions {
  driver: QemuDriver;
  store: StageStore;
  ledger: Ledger;
  options: QemuImageOptions;
  /** The digest that a list of checksums names. */
  base: string | undefined;
  claim: Omit<Claim, "artifactId">;
  /** This machine's name, for people. */
  machine: string;
}

/** A finished image that is not in its place yet. */
interface Captured {
  /** Paths of the image, and of its UEFI variables if it has any. */
  drafts: string[];
  disk: Disk;
  sha256: string;
  standsOn?: string;
}

/** How many steps a build has beside its provisioners: source, boot, shutdown, capture; and a boot test. */
export const OWN_STEPS = 4;
const DEFAULT_SHUTDOWN_TIMEOUT = "5m";

export class QemuBuilder implements Builder<QemuArtifact> {
  constructor(private readonly setup: QemuBuilderOptions) {}

  async build(context: BuildContext, provisioning: Provisioning): Promise<QemuArtifact> {
    const { driver, store, options, base, claim } = this.setup;
    const kind = await findKind(context, driver, options);
    const source = await context.step(`source: ${hideSecrets(options.isoUrl)}`, () =>
      findSource(context, driver, options, base),
    );
    const machineSetup = { driver, store, options, kind, source };
    const build = new BuildMachine(context, machineSetup, nameMachine(context.buildId));
    const { owner, id } = claim;
    const stages = await QemuStages.create(context, { ...machineSetup, owner, id }, build);
    await provisioning.run(build.communicator, stages);
    await context.step("shutdown", () => this.shutDown(context, build));
    const captured = await context.step("capture", () => this.capture(context, machineSetup, build));
    const { bootTest } = options;
    if (bootTest) await context.step("boot test", () => this.test(context, machineSetup, captured, bootTest));
    return this.settle(context, captured);
  }

  private async shutDown(context: BuildContext, build: BuildMachine): Promise<void> {
    const { sshUsername, seal = true, shutdownCommand, shutdownTimeout } = this.setup.options;
    const timeout = shutdownTimeout ?? DEFAULT_SHUTDOWN_TIMEOUT;
    await sealMachine(context, build.communicator, {
      user: sshUsername,
      isSealed: seal,
      publicKey: build.publicKey,
    });
    const what = `Shutting the machine down (shutdownTimeout ${timeout})`;
    await withDeadline(what, parseDuration(timeout), context.signal, (signal) =>
      build.shutDown(shutdownCommand, signal),
    );
  }

  /** Beside its place: nobody sees the image before it is whole, tested and claimed. */
  private async capture(context: BuildContext, setup: MachineSetup, build: BuildMachine): Promise<Captured> {
    const { driver, options, claim } = this.setup;
    const { cwd, name, buildId, signal } = context;
    const plain = path.resolve(cwd, nameImage(options, { ...claim, name }));
    const draft = `${plain}.${buildId}.draft`;
    const variables = build.variablesFile && `${draft}-efivars`;
    const drafts = variables === undefined ? [draft] : [draft, variables];
    const machine = nameMachine(buildId);
    noteDrafts(machine, drafts);
    context.defer("removing the unfinished image", () => Promise.resolve(removeDrafts(machine)));
    await fs.promises.mkdir(path.dirname(draft), { recursive: true });
    const backing = options.thin ? setup.source.disk : undefined;
    await writeImage(context, driver, options, { disk: build.disk, backing, target: draft });
    if (variables !== undefined) await fs.promises.copyFile(build.variablesFile ?? "", variables);
    const disk = { path: draft, format: options.format ?? "qcow2" };
    return { drafts, disk, sha256: await sha256File(draft, signal), standsOn: backing?.path };
  }

  private async test(
    context: BuildContext,
    setup: MachineSetup,
    { disk, drafts, sha256 }: Captured,
    bootTest: BootTestOptions,
  ): Promise<void> {
    const { firmware } = setup.kind;
    const [, variables] = drafts;
    const kind =
      firmware && variables !== undefined
        ? { ...setup.kind, firmware: { ...firmware, variables } }
        : setup.kind;
    await testImage(context, { ...setup, kind, source: { sha256, disk } }, bootTest);
    if ((await sha256File(disk.path, context.signal)) !== sha256)
      throw new Error("Testing the image: its bytes changed meanwhile. Does something else write to it?");
  }

  /** Puts it in its place, with its claim. What it is called is decided when nobody else decides. */
  private async settle(
    { signal, cwd, name }: BuildContext,
    { drafts, disk, sha256, standsOn }: Captured,
  ): Promise<QemuArtifact> {
    const { ledger, claim, driver, machine, options } = this.setup;
    const { virtualSizeBytes } = await driver.inspectDisk(disk, signal);
    const { size: sizeBytes } = await fs.promises.stat(disk.path);
    const id = `sha256:${sha256}`;
    const names = await ledger.alone(signal, () => {
      const image = nameNewImage(options, { ...claim, name }, claim.id, cwd);
      const chosen = [image, nameVariables(image)].slice(0, drafts.length);
      const files = chosen.map((file) => path.resolve(cwd, file));
      ledger.put({ ...claim, artifactId: id }, { artifactId: id, files, standsOn });
      for (const [index, draft] of drafts.entries()) fs.renameSync(draft, files[index] ?? "");
      rememberImage(files[0] ?? "", sha256);
      return chosen;
    });
    const places = [{ machine, path: names[0] ?? "" }];
    const data = { format: disk.format, sizeBytes, virtualSizeBytes, places };
    return { kind: "qemu-image", id, files: names, data };
  }
}
