/** Which of an image's files may go when a claim on it does. `others`: all claims but that one. */
import * as fs from "node:fs";
import * as path from "node:path";
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
  const child = others.find((other) => held.files.includes(other.standsOn ?? ""));
  if (child) return `the image ${child.files[0]}, which stands on it,`;
  if (store.listSources().some((source) => held.files.includes(source)))
    return "a saved machine that stands on it";
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

function isHeldBeside(held: HeldClaim, others: readonly HeldClaim[]): boolean {
  return others.some((other) => other.files.some((file) => held.files.includes(file)));
}
