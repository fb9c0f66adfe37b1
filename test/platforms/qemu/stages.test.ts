/** Machines that are saved between steps, and later builds that go on from them. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { StageStore } from "../../../src/platforms/qemu/stage-store";
import { FakeQemuDriver } from "./fake-driver";
import {
  create,
  deleteReplaced,
  destroy,
  endOwners,
  listLeft,
  listObjects,
  mustCreate,
  resetFolders,
  type Resource,
} from "./provider-run";

const app: Resource = { stack: "s", name: "app", lineage: "0000" };

let driver = new FakeQemuDriver();
beforeEach(() => {
  resetFolders();
  driver = new FakeQemuDriver();
});
afterEach(() => driver.world.killAll());

/** What happened since the last call. */
function takeWork(): { starts: string[]; ran: string[] } {
  const { starts, ran } = driver.world;
  return { starts: starts.splice(0), ran: ran.splice(0) };
}

function withSteps(inline: string[], more: object = {}): Resource {
  const step = { type: "shell", inline, cache: true, ...more };
  return {
    ...app,
    options: {
      provisioners: [step, { type: "file", content: "1", destination: "/srv/version", cache: true }],
    },
  };
}

test("a build of another last step goes on from the machine after the one before, and a destroy leaves no machine", async () => {
  const one = await mustCreate({ driver }, app, "1");
  assert.deepEqual(takeWork(), { starts: ["boot"], ran: ["first"] });
  assert.equal(listObjects().length, 3, "the start, and after each step");
  const two = await mustCreate({ driver }, app, "2");
  assert.deepEqual(takeWork(), { starts: ["resume"], ran: [] });
  await deleteReplaced(one);
  await destroy(driver, app, two);
  assert.deepEqual(listLeft(), []);
});

test("a build whose first step changed goes on from the machine as it starts", async () => {
  const one = await mustCreate({ driver }, app, "2");
  takeWork();
  const other = await mustCreate({ driver }, { ...withSteps(["other"]), name: "other" }, "1");
  assert.deepEqual(takeWork(), { starts: ["resume"], ran: ["other"] });
  await destroy(driver, { ...app, name: "other" }, other);
  await destroy(driver, app, one);
  assert.deepEqual(listLeft(), []);
});

test("a rebuild that was asked for goes on from nothing", async () => {
  await mustCreate({ driver }, app, "1");
  takeWork();
  await mustCreate({ driver, moved: false }, app, "1");
  assert.deepEqual(takeWork(), { starts: ["boot"], ran: ["first"] });
});

test("above a disk that has changed no machine goes on", async () => {
  await mustCreate({ driver }, app, "1");
  takeWork();
  const store = new StageStore();
  const lowest = listObjects().find((id) => store.read(id)?.below === undefined) ?? "";
  fs.appendFileSync(store.diskOf(lowest).path, " ");
  await mustCreate({ driver }, app, "2");
  assert.deepEqual(takeWork(), { starts: ["boot"], ran: ["first"] });
});

test("where a saved machine does not start, the build boots one", async () => {
  await mustCreate({ driver }, app, "1");
  takeWork();
  const store = new StageStore();
  for (const id of listObjects()) fs.writeFileSync(store.fileOf(id, "memory"), '{"disk":["else"]}');
  await mustCreate({ driver }, app, "2");
  assert.deepEqual(takeWork(), { starts: ["boot"], ran: ["first"] });
});

test("what was given a secret is not saved, from there on", async () => {
  const secrets = { TOKEN: "hunter2-hunter2" };
  const given = withSteps(["first"], { secretEnvironment: ["TOKEN"] });
  await mustCreate({ driver }, { ...given, options: { ...given.options, secrets } }, "1");
  assert.equal(listObjects().length, 1, "only the start");
  resetFolders();
  const cloudInit = { userData: "#cloud-config\n# {{ .Secrets.TOKEN }}\n", secrets: ["TOKEN"] };
  await mustCreate({ driver }, { ...app, options: { secrets, cloudInit } }, "1");
  assert.deepEqual(listObjects(), []);
});

test("a step that fails is not saved, and the next build goes on after the last good one", async () => {
  const broken = {
    ...app,
    options: {
      provisioners: [
        { type: "shell", inline: ["first"], cache: true },
        { type: "shell", inline: ["exit 3"], cache: true },
      ],
    },
  };
  let failure: unknown;
  assert.equal(await create({ driver, onError: (error) => (failure = error) }, broken, "1"), undefined);
  assert.match(String(failure), /exit code 3/);
  assert.equal(listObjects().length, 2);
  takeWork();
  const made = await mustCreate({ driver }, app, "1");
  assert.deepEqual(takeWork(), { starts: ["resume"], ran: [] });
  await destroy(driver, app, made);
  assert.deepEqual(listLeft(), []);
});

test("two builds at once make their start once", async () => {
  const twin = { ...app, name: "twin" };
  const [one, other] = await Promise.all([
    mustCreate({ driver }, app, "1"),
    mustCreate({ driver }, twin, "2"),
  ]);
  assert.equal(driver.world.starts.filter((start) => start === "boot").length, 1);
  assert.deepEqual(driver.world.ran, ["first"]);
  assert.notEqual(path.basename(String(one.outs["path"])), path.basename(String(other.outs["path"])));
  await destroy(driver, app, one);
  await destroy(driver, twin, other);
  assert.deepEqual(listLeft(), []);
});

test("files for the media that change while the machine boots: no image, and no machine is saved", async () => {
  fs.mkdirSync("cd");
  fs.writeFileSync("cd/answers", "before");
  const start = driver.startMachine.bind(driver);
  driver.startMachine = (spec, signal) => {
    fs.writeFileSync("cd/answers", "after");
    return start(spec, signal);
  };
  let failure: unknown;
  const installed = { ...app, options: { cdFiles: ["cd/answers"] } };
  assert.equal(await create({ driver, onError: (error) => (failure = error) }, installed, "1"), undefined);
  assert.match(String(failure), /the files for the machine's media or HTTP changed meanwhile/);
  assert.deepEqual(listObjects(), []);
});

test("a boot test that takes too long shows what the machine shows", async () => {
  const connect = driver.connect.bind(driver);
  driver.connect = (options, target) =>
    driver.world.starts.length < 2
      ? connect(options, target)
      : new Promise((_, reject) =>
          target.signal.addEventListener("abort", () => reject(target.signal.reason)),
        );
  let failure: unknown;
  const tested = { ...app, options: { cache: false, bootTest: { commands: ["true"], timeout: "30ms" } } };
  assert.equal(await create({ driver, onError: (error) => (failure = error) }, tested, "1"), undefined);
  assert.match(String(failure), /timeout 30ms\): not finished in time\. It is not used\nthe console/);
  assert.deepEqual(listLeft(), []);
});

test("a machine that is kept after a failure keeps its disk when its build has ended", async () => {
  const broken = { ...withSteps(["exit 3"]), name: "broken" };
  assert.equal(
    await create({ driver }, { ...broken, options: { ...broken.options, onError: "abort" } }, "1"),
    undefined,
  );
  const kept = listObjects();
  assert.notDeepEqual(kept, []);
  endOwners();
  await destroy(driver, app, await mustCreate({ driver }, app, "1"));
  assert.deepEqual(
    kept.filter((id) => !listObjects().includes(id)),
    [],
  );
});
