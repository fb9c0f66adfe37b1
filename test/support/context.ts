import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { withContext, type BuildContext, type ContextOptions } from "../../src/core/context";
import { BuildLog, type Watcher } from "../../src/core/log";
import { createRedactor } from "../../src/core/redact";

export interface Recorded {
  log: string;
  updates: string[];
  /** What was shown to be kept. */
  told: string[];
  warnings: string[];
}

/** A folder that goes with the test. */
export function makeFolder(test: TestContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-test-"));
  test.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs `work` in a context as a build gets it, and gives what was logged and shown. */
export async function inContext(
  test: TestContext,
  work: (context: BuildContext) => Promise<void>,
  options: Partial<ContextOptions> = {},
): Promise<Recorded> {
  const folder = makeFolder(test);
  const recorded: Recorded = { log: "", updates: [], told: [], warnings: [] };
  const watcher: Watcher = {
    update: (status) =>
      recorded.updates.push(
        `${status.step}/${status.steps} ${status.title}${status.detail ? ` | ${status.detail}` : ""}`,
      ),
    tell: (text) => recorded.told.push(text),
    warn: (text) => recorded.warnings.push(text),
  };
  const secrets = options.secrets ?? {};
  const log = new BuildLog(path.join(folder, "logs"), "b1", createRedactor(Object.values(secrets)), watcher);
  try {
    await withContext(
      {
        buildId: "b1234567",
        name: "app",
        platform: "docker",
        cwd: folder,
        signal: new AbortController().signal,
        hideCommands: false,
        steps: 1,
        ...options,
        secrets,
        log,
      },
      work,
    );
  } finally {
    log.close();
    recorded.log = fs.readFileSync(log.file, "utf8");
  }
  return recorded;
}
