import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { listCollectable, type Claim } from "../../core/claims";
import type { BuildContext } from "../../core/context";
import { sha256File } from "../../core/content-hash";
import type { Artifact, Builder } from "../../core/model";
import type { Claimant, Outputs, Site } from "../../core/platform";
import type { StageMark } from "../../core/stage-claims";
import { QemuBuilder, type QemuArtifact } from "./builder";
import { removeDrafts } from "./drafts";
import type { QemuDriver } from "./driver";
import { findUnchanged, findUser, removeFiles } from "./image-files";
import { isSameClaim, Ledger, type HeldClaim, type Holding } from "./ledger";
import type { QemuImageOptions } from "./options";
import {
  copyFiles,
  copyInPlace,
  isInPlace,
  nameImage,
  planCopy,
  type ImageName,
  type PlannedCopy,
} from "./place";
import { findProcesses, nameMachine, stopMachine } from "./run-folder";
import { StageStore } from "./stage-store";
import { dropStage } from "./stages";

/** This machine: its images are files, and who needs them is written in its ledger. */
export class QemuSite implements Site<QemuImageOptions> {
  readonly address = os.hostname();
  private readonly ledger = new Ledger();
  private readonly store = new StageStore();
  /** Of artifacts that were looked at: what a claim on them will hold. */
  private readonly holdings = new Map<string, Holding>();
  /** Of artifacts that are elsewhere, by the claim that they are to be copied for. */
  private readonly copies = new Map<string, PlannedCopy>();

  constructor(private readonly driver: QemuDriver) {}

  readId(signal: AbortSignal): Promise<string> {
    return this.ledger.readId(signal);
  }

  /** Of files that somebody has removed there are none any more. */
  listClaims(): Promise<Claim[]> {
    return Promise.resolve(this.ledger.list().filter(isThere).map(toClaim));
  }

  async putClaim(claim: Claim, signal: AbortSignal): Promise<void> {
    const copy = this.copies.get(claim.id);
    if (copy?.holding.artifactId === claim.artifactId) {
      this.copies.delete(claim.id);
      return copyInPlace(copy, this.ledger, () => this.ledger.put(claim, copy.holding), signal);
    }
    await this.ledger.alone(signal, () => {
      const holding = this.findHolding(claim);
      const [image] = holding.files;
      if (image === undefined || !fs.existsSync(image))
        throw new Error(`Claiming ${claim.artifactId}: ${image ?? "its file"} does not exist any more`);
      this.ledger.put(claim, holding);
    });
  }

  private findHolding({ artifactId, id }: Claim): Holding {
    const same = this.ledger.list().filter((other) => other.artifactId === artifactId);
    // Of several copies its own, also when a resource that got another lineage takes over what it had kept.
    const own = same.find((other) => other.id === id);
    const holding = own ?? this.holdings.get(artifactId) ?? same[0];
    if (!holding) throw new Error(`Claiming ${artifactId}: nobody knows where it is on ${this.address}`);
    return holding;
  }

  async dropClaim(claim: Claim, signal: AbortSignal): Promise<string | undefined> {
    return this.ledger.alone(signal, () => {
      const all = this.ledger.list();
      const held = all.find((other) => isSameClaim(other, claim));
      if (!held) return undefined;
      const others = all.filter((other) => other !== held);
      const user = findUser(held, others, this.store);
      // Marked first: whatever happens between, a later build finds it.
      if (user !== undefined) this.ledger.put({ ...claim, state: "gone" }, held);
      if (user === undefined) removeFiles(held, others);
      if (user === undefined || claim.state !== "gone") this.ledger.remove(claim);
      return user;
    });
  }

  async collect(signal: AbortSignal): Promise<void> {
    this.store.collect();
    await this.ledger.alone(signal, () => {
      // Where the folder is missing too it may be a disk that is not mounted now.
      const isRemoved = (held: HeldClaim): boolean => !isThere(held) && held.files.every(hasFolder);
      for (const held of this.ledger.list().filter(isRemoved)) this.ledger.remove(held);
    });
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
    claimant?: Claimant,
  ): Promise<QemuArtifact | undefined> {
    const whole = this.listWhole(artifactId);
    const near = claimant && whole.find((held) => isFor(held, options, claimant));
    const held = await findUnchanged(near ? [near, ...whole] : whole, signal);
    if (!held) return undefined;
    const artifact = await this.describe(artifactId, held, options.format ?? "qcow2", signal);
    if (held === near || !claimant) return artifact;
    const copy = planCopy(held, options, claimant, process.cwd());
    this.copies.set(claimant.claim.id, copy);
    return this.place(artifact, copy.holding);
  }

  private listWhole(artifactId: string): HeldClaim[] {
    return this.ledger
      .list()
      .filter((held) => held.artifactId === artifactId && held.files.every((file) => fs.existsSync(file)));
  }

  private async describe(
    artifactId: string,
    holding: Holding,
    format: string,
    signal: AbortSignal,
  ): Promise<QemuArtifact> {
    this.holdings.set(artifactId, holding);
    const [image = ""] = holding.files;
    const { virtualSizeBytes } = await this.driver.inspectDisk({ path: image, format }, signal);
    const { size: sizeBytes } = await fs.promises.stat(image);
    const isAdopted = holding.isAdopted ? { isAdopted: true as const } : {};
    const data = { format, sizeBytes, virtualSizeBytes, places: [], ...isAdopted };
    return this.place({ kind: "qemu-image", id: artifactId, files: [], data }, holding);
  }

  /** The same artifact, with the files of a holding. */
  private place(artifact: QemuArtifact, holding: Holding): QemuArtifact {
    const files = holding.files.map((file) => toRelative(file));
    const places = [{ machine: this.address, path: files[0] ?? "" }];
    return { ...artifact, files, data: { ...artifact.data, places } };
  }

  /** Its path, unless that depends on what there is when it is claimed. */
  predictFound(artifactId: string, options: QemuImageOptions, image: ImageName): Outputs {
    const known = { artifactId, sha256: artifactId.replace("sha256:", "") };
    const near = this.listWhole(artifactId).find(({ files: [file = ""] }) =>
      isInPlace(file, options, image, process.cwd()),
    );
    if (near) return { ...known, path: toRelative(near.files[0] ?? "") };
    const path = nameImage(options, image);
    return fs.existsSync(path) ? known : { ...known, path };
  }

  /** From where this machine has it; a file that nobody claims is taken only if its bytes are the image's. */
  async restore(artifact: Artifact, _results: readonly Artifact[], signal: AbortSignal): Promise<boolean> {
    const { id: artifactId } = artifact;
    const files = (artifact.files ?? []).map((file) => path.resolve(file));
    const isHere = isThere({ artifactId, files });
    const whole = this.listWhole(artifactId);
    const near = whole.find((held) => held.files.join() === files.join());
    const held = await findUnchanged(near ? [near, ...whole] : whole, signal);
    if (held && (held === near || !isHere)) {
      if (!isHere) await copyFiles(held.files, files);
      const isAdopted = held === near && held.isAdopted === true;
      this.holdings.set(artifactId, { artifactId, files, standsOn: held.standsOn, isAdopted });
      return true;
    }
    const [image = ""] = files;
    if (!isHere || `sha256:${await sha256File(image, signal)}` !== artifactId) return false;
    const format = (artifact as QemuArtifact).data.format;
    const { standsOn } = await this.driver.inspectDisk({ path: image, format }, signal);
    const isAdopted = artifact.data["isAdopted"] === true;
    this.holdings.set(artifactId, { artifactId, files, standsOn, isAdopted });
    return true;
  }

  /** Another folder of the same machine may have it. */
  locate(artifact: Artifact): Promise<"here" | "elsewhere" | "gone"> {
    const isHere = (artifact.files ?? []).every((file) => fs.existsSync(path.resolve(file)));
    if (isHere) return Promise.resolve("here");
    return Promise.resolve(this.listWhole(artifact.id).length > 0 ? "elsewhere" : "gone");
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
    const artifactId = `sha256:${await sha256File(file, context.signal)}`;
    const format = options.format ?? "qcow2";
    const known = this.ledger.list().find((other) => other.files.includes(file));
    if (known) return this.describe(artifactId, known, format, context.signal);
    const { standsOn } = await this.driver.inspectDisk({ path: file, format }, context.signal);
    const holding = { artifactId, files: [file], standsOn, isAdopted: true };
    const artifact = await this.describe(artifactId, holding, format, context.signal);
    return { ...artifact, data: { ...artifact.data, isAdopted: true } };
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
    removeDrafts(name);
    this.store.collect();
  }

  async explainKept(name: string): Promise<string | undefined> {
    const [machine] = await findProcesses(name);
    if (!machine) return undefined;
    const { pid, folder } = machine;
    const login = path.join(folder, "login");
    const shell = fs.existsSync(login) ? ` A shell in it: ${fs.readFileSync(login, "utf8")}.` : "";
    return `The build's machine is kept for 24 hours.${shell} To remove it: kill ${pid} && rm -r ${folder}`;
  }
}

function isThere({ files }: Holding): boolean {
  return files.every((file) => fs.existsSync(file));
}

function hasFolder(file: string): boolean {
  return fs.existsSync(path.dirname(file));
}

function toClaim({ owner, fingerprint, id, state, artifactId }: HeldClaim): Claim {
  return { owner, fingerprint, id, state, artifactId };
}

/** It is where the resource has its images, or is the file that the resource itself has adopted. */
function isFor(held: HeldClaim, options: QemuImageOptions, { name, claim }: Claimant): boolean {
  const [file = ""] = held.files;
  const isOwn = held.isAdopted === true && held.owner === claim.owner;
  return isOwn || isInPlace(file, options, { ...claim, name }, process.cwd());
}

function toRelative(file: string): string {
  return path.relative(process.cwd(), file).split(path.sep).join("/");
}
