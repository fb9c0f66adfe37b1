import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { Json, StageKeeper } from "../../src/core/model";
import { StageMemory } from "../../src/core/stage-memory";
import { runStaged, type StagedStep, type StageSettings } from "../../src/core/stage-run";
import { inContext, makeFolder, type Recorded } from "../support/context";

/** A place that keeps machines, each a list of what was done to it. */
class FakePlace {
  readonly stages = new Map<string, string[]>();
}

class FakeKeeper implements StageKeeper {
  readonly machine = { image: "tiny" };
  done: string[] = [];
  readonly claimed: string[] = [];
  /** How often the machine was made from the source. */
  boots = 0;
  /** Another build removes each stage as soon as it is saved. */
  isEvicted = false;

  constructor(
    private readonly place: FakePlace,
    readonly savesStart = false,
  ) {}

  async findStages(keys: readonly string[]): Promise<ReadonlySet<string>> {
    return new Set(keys.filter((key) => this.place.stages.has(key)));
  }

  async openMachine(key: string | undefined): Promise<void> {
    const saved = key === undefined ? [] : this.place.stages.get(key);
    if (!saved) throw new Error(`no stage ${key}`);
    if (key === undefined) this.boots++;
    this.done = [...saved];
  }

  async claimStages(keys: readonly string[]): Promise<void> {
    this.claimed.push(...keys);
  }

  async findObstacle(): Promise<string | undefined> {
    return this.done.at(-1) === "daemon" ? "a process lives on (daemon)" : undefined;
  }

  async measureBytes(): Promise<number> {
    return 0;
  }

  async containsText(pattern: RegExp): Promise<boolean> {
    return this.done.some((line) => pattern.test(line));
  }

  async saveStage(key: string): Promise<void> {
    this.place.stages.set(key, [...this.done]);
  }

  async continueFrom(key: string): Promise<void> {
    if (this.isEvicted) throw new Error(`no stage ${key}`);
    return Promise.resolve();
  }
}

interface Line {
  text: string;
  stage?: Partial<StagedStep>;
  run?: () => Promise<void>;
}

function makeSettings(t: TestContext, more: Partial<StageSettings> = {}): StageSettings {
  process.env["PULUMI_KILN_HOME"] = makeFolder(t);
  return { memory: new StageMemory("fake"), owner: "o", isRebuild: false, ...more };
}

async function build(
  t: TestContext,
  settings: StageSettings,
  keeper: FakeKeeper,
  lines: (string | Line)[],
  secrets: Record<string, string> = {},
): Promise<Recorded & { ran: string[] }> {
  const ran: string[] = [];
  const steps = lines.map((item) => {
    const { text, stage, run }: Line = typeof item === "string" ? { text: item } : item;
    const identity: Json = text;
    return {
      stage: {
        title: text,
        identity,
        readIdentity: async () => identity,
        parts: { text },
        cache: true,
        givenSecret: false,
        actsElsewhere: false,
        ...stage,
      },
      run: async () => {
        ran.push(text);
        await run?.();
        keeper.done.push(text);
      },
    };
  });
  const recorded = await inContext(t, (context) => runStaged(context, keeper, settings, steps), { secrets });
  return { ...recorded, ran };
}

test("what was built is not run again, from the first change on all is", async (t) => {
  const place = new FakePlace();
  const settings = makeSettings(t);
  assert.deepEqual((await build(t, settings, new FakeKeeper(place), ["a", "b", "c"])).told, []);
  const keeper = new FakeKeeper(place);
  const { ran, told } = await build(t, settings, keeper, ["a", "x", "c"]);
  assert.deepEqual(ran, ["x", "c"]);
  assert.deepEqual(keeper.done, ["a", "x", "c"]);
  assert.deepEqual(told, ["1 step reused; step 2 runs: text changed"]);
  assert.equal(keeper.claimed.length, 1);
});

test("a machine that starts slowly is saved as it starts, and made once, even by two builds at a time", async (t) => {
  const place = new FakePlace();
  const settings = makeSettings(t);
  const keepers = ["a", "b"].map(() => new FakeKeeper(place, true));
  const builds = keepers.map((keeper, index) => build(t, settings, keeper, [`step ${index}`]));
  for (const [index, { ran }] of (await Promise.all(builds)).entries())
    assert.deepEqual(ran, [`step ${index}`]);
  assert.equal(
    keepers.reduce((boots, keeper) => boots + keeper.boots, 0),
    1,
  );
  const later = new FakeKeeper(place, true);
  await build(t, settings, later, ["other"]);
  assert.deepEqual([later.boots, later.done, later.claimed.length], [0, ["other"], 1]);
  const asked = new FakeKeeper(place, true);
  await build(t, { ...settings, isRebuild: true }, asked, ["other"]);
  assert.equal(asked.boots, 1);
});

test("a stage that another build has removed fails nobody: the build goes on in its machine", async (t) => {
  const keeper = new FakeKeeper(new FakePlace());
  keeper.isEvicted = true;
  const { ran, log } = await build(t, makeSettings(t), keeper, ["a", "b"]);
  assert.deepEqual(
    [ran, keeper.done],
    [
      ["a", "b"],
      ["a", "b"],
    ],
  );
  assert.match(log, /goes on in the machine that it has/);
});

test("a rebuild that was asked for reads no stage", async (t) => {
  const place = new FakePlace();
  const settings = makeSettings(t);
  await build(t, settings, new FakeKeeper(place), ["a", "b"]);
  const { ran, told } = await build(t, { ...settings, isRebuild: true }, new FakeKeeper(place), ["a", "b"]);
  assert.deepEqual(ran, ["a", "b"]);
  assert.deepEqual(told, [
    "no step reused: a rebuild was asked for (--replace or a taint), or this state knows of no image",
  ]);
});

test("a step that fails is not saved, those before it are", async (t) => {
  const place = new FakePlace();
  const settings = makeSettings(t);
  const fail = { text: "b", run: () => Promise.reject(new Error("exit code 1")) };
  await assert.rejects(build(t, settings, new FakeKeeper(place), ["a", fail]), /exit code 1/);
  const { ran, told } = await build(t, settings, new FakeKeeper(place), ["a", "b"]);
  assert.deepEqual(ran, ["b"]);
  assert.deepEqual(told, ["1 step reused; step 2 runs: no stage of it is left"]);
});

test("nothing is saved from a process that lives on, or from changed sources, on", async (t) => {
  for (const bad of [{ text: "daemon" }, { text: "b", stage: { readIdentity: async () => "other" } }]) {
    const place = new FakePlace();
    const settings = makeSettings(t);
    const { log } = await build(t, settings, new FakeKeeper(place), ["a", bad, "c"]);
    assert.equal(place.stages.size, 1);
    assert.match(log, /no stage: .*(a process lives on \(daemon\)|the sources of "b" changed while it ran)/);
  }
});

test("what took less than a stage costs is not saved, unless it says so", async (t) => {
  const place = new FakePlace();
  const settings = makeSettings(t);
  settings.memory.learn({ saveMs: 3_600_000 });
  const quick = { stage: { cache: undefined } };
  await build(t, settings, new FakeKeeper(place), [{ text: "a", ...quick }, "b", { text: "c", ...quick }]);
  assert.deepEqual([...place.stages.values()], [["a", "b"]]);
});

test("after a secret there is no stage, until a later step asks for one and nothing is found", async (t) => {
  const place = new FakePlace();
  const settings = makeSettings(t);
  const login = { text: "login hunter2", stage: { givenSecret: true } };
  const plain = { text: "b", stage: { cache: undefined } };
  await build(t, settings, new FakeKeeper(place), ["a", login, plain, "c"], { TOKEN: "hunter2" });
  assert.deepEqual([...place.stages.values()], [["a"]]);
  const clean = { ...login, text: "login" };
  await build(t, settings, new FakeKeeper(place), ["a", clean, plain, "c"], { TOKEN: "hunter2" });
  assert.deepEqual([...place.stages.values()].at(-1), ["a", "login", "b", "c"]);
  assert.equal(place.stages.size, 2);
});

test("a stage that cannot be saved, or is gone when it is to be used, fails no build", async (t) => {
  const place = new FakePlace();
  const settings = makeSettings(t);
  const full = new FakeKeeper(place);
  full.saveStage = () => Promise.reject(new Error("no space left"));
  const first = await build(t, settings, full, ["a", "b"]);
  assert.deepEqual(first.warnings, ["a stage could not be saved; the build goes on without: no space left"]);
  await build(t, settings, new FakeKeeper(place), ["a", "b"]);
  const late = new FakeKeeper(place);
  const { findStages } = late;
  late.findStages = async (keys) => {
    const found = await findStages.call(late, keys);
    place.stages.clear();
    return found;
  };
  const { ran, warnings } = await build(t, settings, late, ["a", "b"]);
  assert.deepEqual(ran, ["a", "b"]);
  assert.match(warnings.join(), /the stage cannot be used, so all steps run: no stage \w+/);
});

test("two builds that need the same stage at once run its steps once", async (t) => {
  const place = new FakePlace();
  const settings = makeSettings(t);
  let tellStarted = (): void => undefined;
  const started = new Promise<void>((resolve) => (tellStarted = resolve));
  let proceed = (): void => undefined;
  const mayProceed = new Promise<void>((resolve) => (proceed = resolve));
  const slow = {
    text: "a",
    run: () => {
      tellStarted();
      return mayProceed;
    },
  };
  const first = build(t, settings, new FakeKeeper(place), [slow, "b", "one"]);
  await started;
  // The second one has looked for stages and found none, before the first has saved any.
  const keeper = new FakeKeeper(place);
  const { openMachine } = keeper;
  keeper.openMachine = async (key) => {
    await openMachine.call(keeper, key);
    proceed();
  };
  const second = build(t, { ...settings, owner: "p" }, keeper, ["a", "b", "two"]);
  const ran = [...(await first).ran, ...(await second).ran];
  assert.deepEqual(ran.sort(), ["a", "b", "one", "two"]);
  assert.deepEqual(keeper.done, ["a", "b", "two"]);
});
