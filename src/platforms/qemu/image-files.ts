/** What becomes of an image's files. `others`: all claims but the one that it is about. */
import * as fs from "node:fs";
import * as path from "node:path";
import { digestFile, rememberDigests } from "../../machines/digest-memory";
import { removeIfEmpty } from "./drafts";
import type { HeldClaim } from "./ledger";
import type { StageStore } from "./stage-store";
import { findProcessUsing } from "./users";

/** What keeps files from being removed that nothing else claims. */
export function findUser(
  held: HeldClaim,
  others: readonly HeldClaim[],
  store: StageStore,
): string | undefined {
  if (held.isAdopted || isHeldBeside(held, others)) return undefined;
  const isHeld = (file: string): boolean => held.files.some((mine) => isSameFile(mine, file));
  const child = others.find(({ standsOn }) => standsOn !== undefined && isHeld(standsOn));
  if (child) return `the image ${child.files[0]}, which stands on it,`;
  if (store.listSources().some(isHeld)) return "a saved machine that stands on it";
  for (const file of held.files) {
    const user = findProcessUsing(file);
    if (user !== undefined) return user;
  }
  return undefined;
}

/** Removes them, unless they were there before or another claim holds them too. */
export function removeFiles(held: HeldClaim, others: readonly HeldClaim[]): void {
  if (held.isAdopted || isHeldBeside(held, others)) return;
  for (const file of held.files) {
    fs.rmSync(file, { force: true });
    removeIfEmpty(path.dirname(file));
  }
}

/** Notes what an image holds as it was built, so that the next to look need not read it. */
export function rememberImage(image: string, sha256: string): void {
  rememberDigests(image, new Map([["sha256", sha256]]));
}

/** The first whose image is as it was built: a machine that was run from it may have written to it. */
export async function findUnchanged(
  candidates: readonly HeldClaim[],
  signal: AbortSignal,
): Promise<HeldClaim | undefined> {
  // One may be named twice, to be looked at first; it is read once.
  for (const held of new Set(candidates)) {
    const [image = ""] = held.files;
    const digests = await digestFile(image, ["sha256"], signal, () => undefined);
    if (`sha256:${digests.get("sha256")}` === held.artifactId) return held;
  }
  return undefined;
}

function isHeldBeside(held: HeldClaim, others: readonly HeldClaim[]): boolean {
  return others.some((other) =>
    other.files.some((file) => held.files.some((mine) => isSameFile(mine, file))),
  );
}

/** A symbolic link may lead to it by another path. */
function isSameFile(one: string, other: string): boolean {
  if (one === other) return true;
  const [here, there] = [one, other].map((file) => fs.statSync(file, { throwIfNoEntry: false }));
  return here !== undefined && here.ino === there?.ino && here.dev === there.dev;
}
