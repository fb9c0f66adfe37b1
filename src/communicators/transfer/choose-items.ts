import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { quote } from "../ssh-command";
import type { ArchiveItem } from "./archive-stream";
import { Checks, listFiles } from "./checks";
import type { HashProgram } from "./manifest";
import { formatLastCommands, formatMode, type Plan } from "./plan";
import { PlannedEntry } from "./planned-entry";
import type { Answer } from "./reception";

/** What arrived of a larger file before a cut is not sent again. */
const WORTH_RESUMING_BYTES = 4 * 1024 * 1024;

export interface ChosenItems {
  items: ArchiveItem[];
  /** Commands among them by which files are verified while others arrive, and how many files of ordinary names there are. */
  checkCount: number;
  fileCount: number;
}

/**
 * Everything that the machine lacks, and the lists by which its script checks and places it. What is left of a try that was
 * cut may still write to where the next unpacks: then all is verified at the end.
 */
export async function chooseItems(
  plan: Plan,
  answer: Answer | undefined,
  { program, isFirstTry }: { program: HashProgram; isFirstTry: boolean },
): Promise<ChosenItems> {
  const isNeeded = (entry: PlannedEntry): boolean =>
    entry.isOdd || answer?.needed === undefined || answer.needed.has(entry.name);
  const items: ArchiveItem[] = [];
  const checks = new Checks(items, program, isFirstTry ? plan.sizeBytes : 0);
  const joins: string[] = [];
  const tails: ArchiveItem[] = [];
  const joined: PlannedEntry[] = [];
  for (const entry of plan.entries) {
    if (entry.kind !== "file") {
      if (entry.kind === "symlink" || !entry.isOdd) items.push(entry);
    } else if (isNeeded(entry)) {
      const isStaged = !entry.isOdd && answer?.staged.has(entry.name) === true;
      const fromByte = isStaged ? 0 : await findResumePoint(entry, answer);
      if (isStaged) joined.push(entry);
      else if (fromByte === 0) checks.send(entry);
      else {
        const name = `rest/${tails.length}`;
        tails.push({ entry, name, fromByte });
        joined.push(entry);
        joins.push(
          `cat ../${name} >>${quote(entry.name)} && rm ../${name} && chmod ${formatMode(entry.mode | 0o600)} ${quote(entry.name)}`,
        );
      }
    }
  }
  const last = [...checks.open, ...joined];
  const half = last.length / 2;
  return {
    items: [
      { name: "after", text: formatLastCommands(plan) },
      { name: "before", text: joins.length > 0 ? `set -e\n${joins.join("\n")}\n` : "" },
      ...items,
      ...tails,
      ...listFiles("first", last.slice(0, half), program),
      ...listFiles("second", last.slice(half), program),
      { name: "end", text: "" },
    ],
    checkCount: checks.count,
    fileCount: items.filter((item) => item instanceof PlannedEntry && item.kind === "file" && !item.isOdd)
      .length,
  };
}

/** How much of a file need not be sent again, because the beginning that arrived is the beginning of ours. */
async function findResumePoint(entry: PlannedEntry, answer: Answer | undefined): Promise<number> {
  const part = entry.isOdd ? undefined : answer?.parts.get(entry.name);
  if (!part || entry.file === undefined) return 0;
  if (part.sizeBytes < WORTH_RESUMING_BYTES || part.sizeBytes >= entry.sizeBytes) return 0;
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(entry.file, {
    end: part.sizeBytes - 1,
    highWaterMark: 512 * 1024,
  }))
    hash.update(chunk as Buffer);
  return hash.digest("hex") === part.hash ? part.sizeBytes : 0;
}

/** How much of the archive it is, about. */
export function itemBytes(item: ArchiveItem): number {
  if (item instanceof PlannedEntry) return item.sizeBytes + 512;
  if ("text" in item) return typeof item.text === "string" ? item.text.length : 0; // lists are little
  return item.entry.sizeBytes - item.fromByte;
}
