import { quote } from "../ssh-command";
import type { ArchiveItem } from "./archive-stream";
import { formatManifest, formatNames, nameInManifest, type HashProgram } from "./manifest";
import type { PlannedEntry } from "./planned-entry";

/** To verify less than this takes no time worth the work that it is to do it early. */
const WORTH_WATCHING_BYTES = 32 * 1024 * 1024;
/** A file from this size on is hashed while it arrives. */
const LARGE_FILE_BYTES = 8 * 1024 * 1024;
/** So much is worth the start of the programs that verify it. */
const WORTH_CHECKING_BYTES = 8 * 1024 * 1024;
const WORTH_CHECKING_FILES = 1000;

/** For the script on the machine: what it needs to verify what has arrived while the rest arrives. */
export const EARLY_CHECKS = `
# Follows the numbered commands in "check", each of which is complete once its ".end" is there. Runs in "new", which may be
# moved or removed under it.
check_early() {
  CHECK=$STAGE_PATH/check
  step=0
  while [ $step != "$EARLY" ]; do
    until [ -f "$CHECK/$step.end" ]; do
      if has_arrived; then [ -f "$CHECK/$step.end" ] || return 1; else pause; fi
    done
    . "$CHECK/$step" || return 1
    step=$((step + 1))
  done
}
# The digest of a file that is being written until step $2 is there; if it is not as listed, the file is read once more.
grow() {
  until [ -f "$1" ] || has_arrived; do pause; done
  { until [ -f "$CHECK/$2.end" ] || has_arrived; do cat; pause; done; cat; } <"$1" | digest
}
has_arrived() { [ -f "$STAGE_PATH/arrived" ]; }
# Not for longer than the script runs and the stage is its own; what takes long is looked at less often.
pauses=0
pause() {
  kill -0 $$ && is_owner || exit
  pauses=$((pauses + 1))
  if [ $pauses -lt 100 ]; then sleep 0.02; else sleep 0.2; fi || sleep 1
}
`;

/** Puts between the files that are sent what the machine needs to verify them while others arrive. */
export class Checks {
  /** Files for which it has got nothing yet. */
  open: PlannedEntry[] = [];
  private openBytes = 0;
  /** How many there are. */
  count = 0;

  constructor(
    private readonly items: ArchiveItem[],
    private readonly program: HashProgram,
    private readonly totalBytes: number,
  ) {}

  send(entry: PlannedEntry): void {
    const isWatched = this.totalBytes >= WORTH_WATCHING_BYTES;
    if (isWatched && entry.sizeBytes >= LARGE_FILE_BYTES) return this.sendLarge(entry);
    this.items.push(entry);
    this.open.push(entry);
    if (!isWatched) return;
    this.openBytes += entry.sizeBytes;
    if (this.openBytes >= WORTH_CHECKING_BYTES || this.open.length >= WORTH_CHECKING_FILES) this.close();
  }

  private sendLarge(entry: PlannedEntry): void {
    const next = this.count + 1;
    this.addStep(`GROWN=$(grow ${quote(nameInManifest(entry))} ${next})`);
    this.items.push(entry, ...listFiles(`check/${next}.list`, [entry], this.program));
    this.addStep(() => `[ "$GROWN" = ${entry.hash} ] || agrees "$CHECK/${next}.list"`);
  }

  private close(): void {
    const list = `${this.count}.list`;
    this.items.push(...listFiles(`check/${list}`, this.open, this.program));
    this.addStep(`agrees "$CHECK/${list}"`);
    this.open = [];
    this.openBytes = 0;
  }

  private addStep(text: string | (() => string)): void {
    const name = `check/${this.count++}`;
    this.items.push({ name, text }, { name: `${name}.end`, text: "" });
  }
}

/** What is to be verified together. After the files themselves, since some hashes become known on the way. */
export function listFiles(name: string, files: readonly PlannedEntry[], program: HashProgram): ArchiveItem[] {
  const list = { name, text: () => formatManifest(files, program) };
  return program === "openssl" ? [list, { name: `${name}.names`, text: () => formatNames(files) }] : [list];
}
