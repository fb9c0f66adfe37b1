// Hashing the sources of an image beside `sha256sum` over the same files: 50,000 files, 1 GB.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { hashSources } from "../src/core/source-tree";
import { median, ROUNDS, type BenchRow } from "./measure";

const fileCount = 50_000;
const totalBytes = 1_000_000_000;
// What changed less than 3 s before it is hashed is not put into the cache.
const settlingMs = 3500;

/** Measures in milliseconds, all by turns, so that a busy moment of the machine meets each alike; medians of five. */
export async function measureSources(): Promise<BenchRow[]> {
  const cwd = fs.mkdtempSync(path.join(tmpdir(), "kiln-bench-"));
  try {
    makeFiles(path.join(cwd, "app"));
    await new Promise((resolve) => setTimeout(resolve, settlingMs));
    runPeer(cwd); // reads everything into the page cache
    const times: Record<"peer" | "cold" | "warm" | "delay", number[]> = {
      peer: [],
      cold: [],
      warm: [],
      delay: [],
    };
    for (let round = 0; round < ROUNDS; round++) {
      const cacheDir = path.join(cwd, `cache-${round}`);
      times.peer.push(await time(() => Promise.resolve(runPeer(cwd))));
      const delay = monitorEventLoopDelay({ resolution: 1 });
      delay.enable();
      times.cold.push(await time(() => hashSources([{ path: "app" }], { cwd, cacheDir })));
      times.warm.push(await time(() => hashSources([{ path: "app" }], { cwd, cacheDir })));
      delay.disable();
      times.delay.push(delay.max / 1e6);
    }
    const peer = median(times.peer);
    return [
      makeRow("sources: cold, 50,000 files, ms beside sha256sum", median(times.cold), peer, 0.6),
      makeRow("sources: warm, 50,000 files, ms beside sha256sum", median(times.warm), peer, 0.15),
      makeRow("sources: longest stop of the event loop, ms beside 100 ms", median(times.delay), 100, 1),
    ];
  } finally {
    fs.rmSync(cwd, { recursive: true, force: true });
  }
}

function runPeer(cwd: string): void {
  const command = "find app -type f -print0 | xargs -0 sha256sum > /dev/null";
  execFileSync("sh", ["-c", command], { cwd });
}

/** Sizes from 100 bytes to 100 KB, small ones far more often, as in a real program. */
function makeFiles(root: string): void {
  const weights = Array.from({ length: fileCount }, (_, i) =>
    Math.exp(((i * 7919) % fileCount) / (fileCount / 7)),
  );
  const scale = totalBytes / weights.reduce((sum, weight) => sum + weight, 0);
  const noise = randomBytes(1024 * 1024);
  for (const [i, weight] of weights.entries()) {
    const folder = path.join(root, `d${i % 50}`, `e${Math.floor(i / 50) % 20}`);
    fs.mkdirSync(folder, { recursive: true });
    const start = (i * 31) % 500_000;
    fs.writeFileSync(
      path.join(folder, `file-${i}.dat`),
      noise.subarray(start, start + Math.round(weight * scale)),
    );
  }
}

async function time(run: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await run();
  return performance.now() - startedMs;
}

function makeRow(what: string, ours: number, beside: number, goal: number): BenchRow {
  return { what, ours, beside, figure: ours / beside, goal };
}
