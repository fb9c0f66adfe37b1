import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { listCollectable, type Claim } from "../../core/claims";
import type { BuildContext } from "../../core/context";
import type { Artifact, Builder } from "../../core/model";
import type { Outputs, Site } from "../../core/platform";
import type { StageMark } from "../../core/stage-claims";
import { QemuBuilder, type QemuArtifact } from "./builder";
import { hashFile } from "./capture";
import type { QemuDriver } from "./driver";
import { Ledger, type HeldClaim, type Holding } from "./ledger";
import type { QemuImageOptions } from "./options";
import { findProcesses, nameMachine, runFolderOf, stopMachine } from "./run-folder";
import { StageStore } from "./stage-store";
import { dropStage } from "./stages";
import { findProcessUsing } from "./users";

/** This machine: its images are files, and who needs them is written in its ledger. */
export class QemuSite implements Site<QemuImageOptions> {
  readonly address = os.hostname();
  private readonly ledger = new Ledger();
  private readonly store = new StageStore();
  /** Of artifacts that were looked at: what a claim on them will hold. */
  private readonly holdings = new Map<string, Holding>();

  constructor(private readonly driver: QemuDriver) {}

  readId(signal: AbortSignal): Promise<string> {
    return this.ledger.readId(signal);
  }

  listClaims(): Promise<Claim[]> {
    return Promise.resolve(this.ledger.list().map(toClaim));
  }

  async putClaim(claim: Claim, signal: AbortSignal): Promise<void> {
    await this.ledger.alone(signal, () => {
      const holding = this.findHolding(claim);
      const [image] = holding.files;
      if (image === undefined || !fs.existsSync(image))
        throw new Error(`Claiming ${claim.artifactId}: ${image ?? "its file"} does not exist any more`);
      this.ledger.put(claim, holding);
    });
  }

  private findHolding({ artifactId, owner, id }: Claim): Holding {
    const same = this.ledger.list().filter((other) => other.artifactId === artifactId);
    const own = same.find((other) => other.owner === owner && other.id === id);
    const holding = own ?? this.holdings.get(artifactId) ?? same[0];
    if (!holding) throw new Error(`Claiming ${artifactId}: nobody knows where it is on ${this.address}`);
    return holding;
  }

  async dropClaim(claim: Claim, signal: AbortSignal): Promise<string | undefined> {
    return this.ledger.alone(signal, () => {
      const held = this.ledger.list().find((other) => isSame(other, claim));
      if (!held) return undefined;
      const user = this.findUser(held);
      // Marked first: whatever happens between, a later build finds it.
      if (user !== undefined) this.ledger.put({ ...claim, state: "gone" }, held);
      if (user === undefined) this.removeFiles(held);
      if (user === undefined || claim.state !== "gone") this.ledger.remove(claim);
      return user;
    });
  }

  /** What keeps files from being removed that nothing else claims. */
  private findUser(held: HeldClaim): string | undefined {
    if (held.isAdopted || this.isHeldBeside(held)) return undefined;
    const others = this.ledger.list().filter((other) => !isSame(other, held));
    const child = others.find((other) => held.files.includes(other.standsOn ?? ""));
    if (child) return `the image ${child.files[0]}, which stands on it,`;
    if (this.store.listSources().some((source) => held.files.includes(source)))
      return "a saved machine that stands on it";
    for (const file of held.files) {
      const user = findProcessUsing(file);
      if (user !== undefined) return user;
    }
    return undefined;
  }

  private isHeldBeside(held: HeldClaim): boolean {
    return this.ledger
      .list()
      .some((other) => !isSame(other, held) && other.files.some((file) => held.files.includes(file)));
  }

  private removeFiles(held: HeldClaim): void {
    if (held.isAdopted || this.isHeldBeside(held)) return;
    for (const file of held.files) {
      fs.rmSync(file, { force: true });
      removeIfEmpty(path.dirname(file));
    }
  }

  async collect(signal: AbortSignal): Promise<void> {
    this.store.collect();
    for (const claim of listCollectable(await this.listClaims(), Date.now()))
      await this.dropClaim(claim, signal);
  }

  createBuilder(
    options: QemuImageOptions,
    base: string | undefined,
    claim: Omit<Claim, "artifactId">,
  ): Builder {
    const { driver, store, ledger, address } = this;
    return new QemuBuilder({ driver, store, ledger, options, base, claim, machine: address });
  }

  async findArtifact(
    artifactId: string,
    options: QemuImageOptions,
    signal: AbortSignal,
  ): Promise<QemuArtifact | undefined> {
    const held = this.ledger
      .list()
      .find((other) => other.artifactId === artifactId && other.files.every((file) => fs.existsSync(file)));
    if (held) return this.describe(artifactId, held, options.format ?? "qcow2", signal);
    return undefined;
  }

  private async describe(
    artifactId: string,
    holding: Holding,
    format: string,
    signal: AbortSignal,
  ): Promise<QemuArtifact> {
    this.holdings.set(artifactId, holding);
    const files = holding.files.map((file) => toRelative(file));
    const [image = ""] = holding.files;
    const { virtualSizeBytes } = await this.driver.inspectDisk({ path: image, format }, signal);
    const { size: sizeBytes } = await fs.promises.stat(image);
    const places = [{ machine: this.address, path: files[0] ?? "" }];
    return {
      kind: "qemu-image",
      id: artifactId,
      files,
      data: { format, sizeBytes, virtualSizeBytes, places },
    };
  }

  predictFound(artifactId: string): Outputs {
    const held = this.ledger.list().find((other) => other.artifactId === artifactId);
    const sha256 = artifactId.replace("sha256:", "");
    return { artifactId, sha256, ...(held ? { path: toRelative(held.files[0] ?? "") } : {}) };
  }

  restore(artifact: Artifact): Promise<boolean> {
    const files = (artifact.files ?? []).map((file) => path.resolve(file));
    const isThere = files.every((file) => fs.existsSync(file));
    if (isThere) this.holdings.set(artifact.id, { artifactId: artifact.id, files });
    return Promise.resolve(isThere);
  }

  locate(artifact: Artifact): Promise<"here" | "elsewhere" | "gone"> {
    const isThere = (artifact.files ?? []).every((file) => fs.existsSync(path.resolve(file)));
    return Promise.resolve(isThere ? "here" : "gone");
  }

  undo(made: string): Promise<void> {
    return Promise.reject(
      new Error(`Undoing "${made}": this version does not know what that is. Update pulumi-kiln`),
    );
  }

  findChange(): Promise<string | undefined> {
    return Promise.resolve(undefined);
  }

  async takeOver(reference: string, options: QemuImageOptions, context: BuildContext): Promise<QemuArtifact> {
    const file = path.resolve(context.cwd, reference);
    if (!fs.existsSync(file)) throw new Error(`Adopting ${reference}: there is no such file`);
    const artifactId = `sha256:${await hashFile(file, context.signal)}`;
    const known = this.ledger.list().find((other) => other.files.includes(file));
    const holding = { artifactId, files: [file], isAdopted: known === undefined || known.isAdopted };
    return this.describe(artifactId, holding, options.format ?? "qcow2", context.signal);
  }

  listStages(): Promise<StageMark[]> {
    return Promise.resolve(this.store.listMarks());
  }

  dropStage(mark: StageMark): Promise<void> {
    dropStage(this.store, mark);
    return Promise.resolve();
  }

  nameMachine(buildId: string): string {
    return nameMachine(buildId);
  }

  async removeMachine(name: string): Promise<void> {
    for (const one of [name, `${name}-test`]) await stopMachine(one);
    this.store.collect();
  }

  async explainKept(name: string): Promise<string | undefined> {
    const folder = runFolderOf(name);
    const [pid] = await findProcesses(folder);
    const login = path.join(folder, "login");
    if (pid === undefined) return undefined;
    const shell = fs.existsSync(login) ? ` A shell in it: ${fs.readFileSync(login, "utf8")}.` : "";
    return `The build's machine is kept for 24 hours.${shell} To remove it: kill ${pid} && rm -r ${folder}`;
  }
}

function toClaim({ owner, fingerprint, id, state, artifactId }: HeldClaim): Claim {
  return { owner, fingerprint, id, state, artifactId };
}

function isSame(one: Claim, other: Claim): boolean {
  return one.owner === other.owner && one.id === other.id && one.state === other.state;
}

function toRelative(file: string): string {
  return path.relative(process.cwd(), file).split(path.sep).join("/");
}

function removeIfEmpty(folder: string): void {
  try {
    if (fs.readdirSync(folder).length === 0) fs.rmdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
