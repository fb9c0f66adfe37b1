/** `npm run bench [-- sources docker preview ssh cache qemu rollout]`: what users wait for, beside what they would use otherwise. Exits 1 when a goal is missed. */
import { measureCache } from "./cache";
import { measureDocker } from "./docker";
import type { BenchRow } from "./measure";
import { measurePreview } from "./preview";
import { measureQemu } from "./qemu";
import { measureRollout } from "./rollout";
import { measureSources } from "./sources";
import { measureSsh } from "./ssh";

const BENCHES: Record<string, () => Promise<BenchRow[]>> = {
  sources: measureSources,
  docker: measureDocker,
  preview: measurePreview,
  ssh: measureSsh,
  cache: measureCache,
  qemu: measureQemu,
  rollout: measureRollout,
};

async function main(): Promise<void> {
  const wished = process.argv.slice(2);
  const unknown = wished.filter((name) => !(name in BENCHES));
  if (unknown.length > 0)
    throw new Error(
      `there is no benchmark ${unknown.join(", ")}; known are ${Object.keys(BENCHES).join(", ")}`,
    );
  const rows: BenchRow[] = [];
  for (const [name, measure] of Object.entries(BENCHES)) {
    if (wished.length === 0 || wished.includes(name)) rows.push(...(await measure()));
  }
  console.log(formatTable(rows));
  if (rows.some((row) => !isMet(row))) process.exitCode = 1;
}

function isMet(row: BenchRow): boolean {
  return row.figure <= row.goal;
}

function formatTable(rows: readonly BenchRow[]): string {
  const cells = rows.map((row) => [
    row.what,
    row.ours.toFixed(0),
    Number.isFinite(row.beside) ? row.beside.toFixed(0) : "-",
    row.figure.toFixed(row.figure > 10 ? 0 : 3),
    Number.isFinite(row.goal) ? `≤ ${row.goal.toFixed(row.goal > 10 ? 0 : 3)}` : "-",
    isMet(row) ? "met" : "MISSED",
  ]);
  const table = [["what", "ours", "beside", "figure", "goal", ""], ...cells];
  const widths = [0, 1, 2, 3, 4, 5].map((column) =>
    Math.max(...table.map((line) => (line[column] ?? "").length)),
  );
  return table
    .map((line) =>
      line
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join("  "),
    )
    .join("\n");
}

void main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
