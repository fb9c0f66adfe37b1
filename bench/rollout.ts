/** Rollouts under constant load, through the real Pulumi: what fails, beside ways to roll out that lose requests. */
import type { TestContext } from "node:test";
import {
  createBlueGreen,
  switchUrn,
  type BlueGreenProgram,
  type BlueGreenStack,
} from "../test/support/blue-green";
import { never, openEngine } from "../test/support/docker";
import { startLoad, type LoadReport, type RunningLoad } from "./load";
import { median, type BenchRow } from "./measure";

const ROLLOUTS = 20;
const ROLLBACK_GOAL_MS = 5000;
const LEAST_PER_SECOND = 500;
const LASTING_SOCKETS = 4;
const PROJECT = `bench-rollout-${process.pid}`;

export async function measureRollout(): Promise<BenchRow[]> {
  const undos: (() => Promise<void>)[] = [];
  const after = (undo: () => Promise<void>): void => void undos.push(undo);
  try {
    const shared = await createBlueGreen({ after } as unknown as TestContext, PROJECT);
    return await measureStack(shared);
  } finally {
    for (const undo of undos.reverse()) await undo();
  }
}

async function measureStack(shared: BlueGreenStack): Promise<BenchRow[]> {
  const bench = new RolloutBench(shared);
  const buildMs = await bench.begin();
  const load = await startLoad(shared.url);
  try {
    const rollouts = await bench.measureRollouts(load, buildMs);
    const controls = await bench.measureControls(load);
    await load.stop();
    return [...rollouts, ...controls, ...(await bench.measureOthers())];
  } finally {
    await load.stop();
  }
}

class RolloutBench {
  private version = 1;

  constructor(private readonly shared: BlueGreenStack) {}

  /** Returns how long the image took that a rollback does not build again. */
  async begin(): Promise<number> {
    const { text } = await this.up({});
    return 1000 * Number(/Image app created \((\d+)s\)/.exec(text)?.[1] ?? NaN);
  }

  /** Every rollout is one of a version that is not known yet, or back to one that was: the way is the same. */
  async measureRollouts(load: RunningLoad, buildMs: number): Promise<BenchRow[]> {
    await load.report();
    const flipMs: number[] = [];
    for (let round = 0; round < ROLLOUTS; round++) {
      this.version++;
      const startedAt = await this.upUntilSwitch({});
      const { firstSeen } = await peek(load, this.sum);
      flipMs.push((firstSeen[this.version] ?? Infinity) - startedAt);
    }
    const { requests, failed, stale, seconds } = this.sum;
    return [
      row(`${ROLLOUTS} rollouts under load: failed, of all requests`, failed, requests, failed, 0),
      row("begun after the flip and answered by the old version", stale, requests, stale, 0),
      row("requests/s, at least (figure: goal / ours)", requests / seconds, LEAST_PER_SECOND, (LEAST_PER_SECOND * seconds) / requests, 1), // prettier-ignore
      row("from the switch's start to traffic on the wanted version, beside a build, ms", median(flipMs), buildMs, median(flipMs), ROLLBACK_GOAL_MS), // prettier-ignore
      row("the same, the slowest", Math.max(...flipMs), buildMs, Math.max(...flipMs), ROLLBACK_GOAL_MS),
    ];
  }

  /** If these lost nothing either, the load would prove nothing. */
  async measureControls(load: RunningLoad): Promise<BenchRow[]> {
    await load.report();
    const { containers } = (await this.shared.stack.outputs()) as { containers: string[] };
    const engine = await openEngine();
    for (const container of containers)
      await engine.request({
        method: "POST",
        path: `/containers/${container}/restart`,
        query: { t: 0 },
        signal: never,
      });
    const replaced = await settle(load);
    this.version++;
    await this.up({ drain: { timeout: "0s" } });
    const undrained = await settle(load);
    return [
      control("control: plain replacement behind the same proxy", replaced),
      control("control: the switch without drain", undrained),
    ];
  }

  /** With WebSockets that last: those of servers that stay must not be cut. */
  async measureOthers(): Promise<BenchRow[]> {
    await this.up({});
    let load = await startLoad(this.shared.url, { lasting: LASTING_SOCKETS });
    const rows: BenchRow[] = [];
    const measure = async (what: string, change: () => Promise<unknown>): Promise<void> => {
      await load.report();
      await change();
      const { failed, stale, lostSockets, requests, failures } = await load.report();
      if (failed > 0) console.error(failures.join("\n"));
      rows.push(row(`${what}: failed, lost WebSockets included`, failed + stale, requests, failed + stale + lostSockets, 0)); // prettier-ignore
    };
    try {
      await measure("a version whose health check fails", () => {
        const sick = { version: this.version + 1, environment: ["SICK=1"], health: { timeout: "5s" } };
        return this.failingUp(sick);
      });
      // Back to the same version is another set of containers: lasting WebSockets end with the old ones.
      await load.stop();
      await this.up({});
      load = await startLoad(this.shared.url, { lasting: LASTING_SOCKETS });
      await measure("health.path changed", () => this.up({ health: { path: "/health" } }));
      await measure("2 → 3 replicas", () => this.up({ replicas: 3, health: { path: "/health" } }));
      await measure("3 → 2 replicas", () => this.up({ health: { path: "/health" } }));
      await measure("--replace of the switch", () => this.up({ health: { path: "/health" } }, "--replace", switchUrn(PROJECT))); // prettier-ignore
      return rows;
    } finally {
      await load.stop();
    }
  }

  private readonly sum: LoadReport = {
    seconds: 0, requests: 0, perSecond: 0, failed: 0, stale: 0, lostSockets: 0, failures: [], firstSeen: {},
  }; // prettier-ignore

  private up(program: Partial<BlueGreenProgram>, ...more: string[]): Promise<{ text: string }> {
    this.shared.declare({ version: this.version, replicas: 2, ...program });
    return this.shared.stack.up(...more);
  }

  private failingUp(program: BlueGreenProgram): Promise<string> {
    this.shared.declare({ replicas: 2, ...program });
    return this.shared.stack.failingUp();
  }

  /** Resolves at the end with the moment at which the switch began. */
  private async upUntilSwitch(program: Partial<BlueGreenProgram>): Promise<number> {
    this.shared.declare({ version: this.version, replicas: 2, ...program });
    const run = this.shared.stack.start(["up", "--yes", "--skip-preview"]);
    let startedAt = Infinity;
    const watch = setInterval(() => {
      if (startedAt === Infinity && run.text().includes("HaproxySwitch web updating")) startedAt = Date.now();
    }, 10);
    const { code, text } = await run.done;
    clearInterval(watch);
    if (code !== 0) throw new Error(`pulumi up ended with ${code}:\n${text}`);
    return startedAt;
  }
}

async function peek(load: RunningLoad, sum: LoadReport): Promise<LoadReport> {
  const report = await load.report();
  if (report.failures.length > 0) console.error(report.failures.join("\n"));
  for (const name of ["seconds", "requests", "failed", "stale"] as const) sum[name] += report[name];
  return report;
}

/** What was cut shows when it would have ended. */
async function settle(load: RunningLoad): Promise<LoadReport> {
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return load.report();
}

function row(what: string, ours: number, beside: number, figure: number, goal: number): BenchRow {
  return { what, ours, beside, figure, goal };
}

function control(what: string, report: LoadReport): BenchRow {
  return row(`${what} must fail requests (figure 0: it does)`, report.failed, report.requests, report.failed > 0 ? 0 : 1, 0); // prettier-ignore
}
