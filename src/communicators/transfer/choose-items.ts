import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { quote } from "../ssh-command";
import type { ArchiveItem } from "./archive-stream";
import { formatManifest, formatNames, type HashProgram } from "./manifest";
import { formatLastCommands, formatMode, type Plan, type PlannedEntry } from "./plan";
import type { Answer } from "./reception";

/** What arrived of a larger file before a cut is not sent again. */
const WORTH_RESUMING_BYTES = 4 * 1024 * 1024;

/** Everything that the machine lacks, and the lists by which its script checks and places it. */
export async function chooseItems(
  plan: Plan,
  answer: Answer | undefined,
  program: HashProgram,
): Promise<ArchiveItem[]> {
  const isNeeded = (entry: PlannedEntry): boolean =>
    entry.isOdd || answer?.needed === undefined || answer.needed.has(entry.name);
  const files = plan.files.filter(isNeeded);
  const sent: ArchiveItem[] = [];
  const joins: string[] = [];
  const tails: ArchiveItem[] = [];
  for (const entry of plan.entries) {
    if (entry.kind !== "file") {
      if (entry.kind === "symlink" || !entry.isOdd) sent.push({ entry });
    } else if (isNeeded(entry) && (entry.isOdd || !answer?.staged.has(entry.name))) {
      const fromByte = await findResumePoint(entry, answer);
      if (fromByte === 0) sent.push({ entry });
      else {
        const name = `rest/${tails.length}`;
        tails.push({ entry, name, fromByte });
        joins.push(
          `cat ../${name} >>${quote(entry.name)} && rm ../${name} && chmod ${formatMode(entry.mode | 0o600)} ${quote(entry.name)}`,
        );
      }
    }
  }
  return [
    { name: "after", text: formatLastCommands(plan) },
    { name: "before", text: joins.length > 0 ? `set -e\n${joins.join("\n")}\n` : "" },
    ...sent,
    ...tails,
    ...listHalf("first", files.slice(0, files.length / 2), program),
    ...listHalf("second", files.slice(files.length / 2), program),
    { name: "end", text: "" },
  ];
}

/** What is to be verified by one of two processes. Last, since some hashes become known on the way. */
function listHalf(name: string, files: readonly PlannedEntry[], program: HashProgram): ArchiveItem[] {
  const list = { name, text: () => formatManifest(files, program) };
  return program === "openssl" ? [list, { name: `${name}.names`, text: () => formatNames(files) }] : [list];
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
  if ("text" in item) return item.text.length; // of a function it is little, as is the list that it gives
  return "fromByte" in item ? item.entry.sizeBytes - item.fromByte : item.entry.sizeBytes + 512;
}
