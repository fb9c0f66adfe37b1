/** Where a resource has its images: `<outputDirectory>/<name>-<fingerprint>.<format>`. One that is elsewhere comes there by a copy. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { Claimant } from "../../core/platform";
import { noteDrafts, removeDrafts } from "./drafts";
import type { HeldClaim, Holding, Ledger } from "./ledger";
import type { QemuImageOptions } from "./options";
import { nameMachine } from "./run-folder";

/** A resource's name and a fingerprint: what an image is called. */
export interface ImageName {
  name: string;
  fingerprint: string;
}

/** Relative to the program's folder; a second one of the same name has its claim's `id` behind that. */
export function nameImage(options: QemuImageOptions, image: ImageName, id?: string): string {
  const { outputDirectory = "images", format = "qcow2" } = options;
  const short = image.fingerprint.replace(/^k\d+:/, "").slice(0, 12);
  const suffix = id === undefined ? "" : `-${id.split("-")[1]}`;
  const stem = `${image.name.replace(/[^\w.-]/g, "_")}-${short}${suffix}`;
  return path.posix.join(outputDirectory, `${stem}.${format}`);
}

/** The same, where no file is yet. */
export function nameNewImage(options: QemuImageOptions, image: ImageName, id: string, cwd: string): string {
  const plain = nameImage(options, image);
  return fs.existsSync(path.resolve(cwd, plain)) ? nameImage(options, image, id) : plain;
}

/** The path of the UEFI variables that go with an image. */
export function nameVariables(image: string): string {
  return image.replace(/\.[^.]*$/, "-efivars.fd");
}

/** Whether an image lies where a resource has its own. */
export function isInPlace(file: string, options: QemuImageOptions, image: ImageName, cwd: string): boolean {
  const mask = /-[0-9a-f]{4}(?=\.[^.]*$)/;
  const plain = path.resolve(cwd, nameImage(options, image));
  return file === plain || file.replace(mask, "") === plain;
}

/** An image that lies elsewhere, and where it is to be. */
export interface PlannedCopy {
  machine: string;
  from: readonly string[];
  holding: Holding;
}

export function planCopy(
  held: HeldClaim,
  options: QemuImageOptions,
  { name, buildId, claim }: Claimant,
  cwd: string,
): PlannedCopy {
  const image = nameNewImage(options, { name, fingerprint: claim.fingerprint }, claim.id, cwd);
  const names = [image, nameVariables(image)].slice(0, held.files.length);
  const { artifactId, files: from, standsOn } = held;
  const files = names.map((file) => path.resolve(cwd, file));
  return { machine: nameMachine(buildId), from, holding: { artifactId, files, standsOn } };
}

/** Where the file system can, both share their blocks. */
export async function copyFiles(from: readonly string[], to: readonly string[]): Promise<void> {
  for (const [index, target] of to.entries()) {
    await fs.promises.mkdir(path.dirname(target), { recursive: true });
    await fs.promises.copyFile(from[index] ?? "", target, fs.constants.COPYFILE_FICLONE);
  }
}

/** Copies, and has the copies claimed and put in place by `claim`, while nobody else decides. */
export async function copyInPlace(
  { machine, from, holding }: PlannedCopy,
  ledger: Ledger,
  claim: () => void,
  signal: AbortSignal,
): Promise<void> {
  const drafts = holding.files.map((file) => `${file}.${machine}.draft`);
  noteDrafts(machine, drafts);
  try {
    await copyFiles(from, drafts);
    await ledger.alone(signal, () => {
      const taken = holding.files.find((file) => fs.existsSync(file));
      if (taken !== undefined)
        throw new Error(`Copying ${from[0]} to ${taken}: another build has just made that. Run again`);
      claim();
      for (const [index, draft] of drafts.entries()) fs.renameSync(draft, holding.files[index] ?? "");
    });
  } finally {
    removeDrafts(machine);
  }
}
