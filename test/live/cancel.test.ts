import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { listClaimTags, openDriver, never, runInImage, tinyImage } from "../support/docker";
import { createStack, type Program, type Stack } from "../support/stack";
import { countImages, followEvents, listJournal, listNameless, type EngineEvent } from "../support/death";

const NOISY_DEADLINE_MS = 10_000;

/** Images whose only step is this command, with a label by which all that was ever made for the test can be counted. */
function declareImages(project: string, command: string, names = ["app"]): Program {
  const image = {
    image: tinyImage(),
    provisioners: [{ type: "shell", inline: [command] }],
    changes: [`LABEL kiln-test=${project}`],
  };
  return { images: Object.fromEntries(names.map((name) => [name, { ...image, triggers: { name } }])) };
}

/** Polls in small steps: under load a build needs its time, and a test that fails must end all the same. */
async function waitUntil(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 2000; attempt++) {
    if (await isTrue()) return;
    await delay(50);
  }
  throw new Error(`Waiting until ${what}: still not so after 2000 looks`);
}

function countStarted(text: string): number {
  return text.split(/step 2 of 3/).length - 1;
}

async function startLongBuild(stack: Stack, images: number): Promise<ReturnType<Stack["start"]>> {
  const up = stack.start(["up", "--yes", "--skip-preview"]);
  await waitUntil("the long step runs", () => countStarted(up.text()) === images);
  return up;
}

async function assertNothingLeft(stack: Stack, machines: string[]): Promise<void> {
  const driver = await openDriver();
  for (const machine of machines)
    assert.equal(await driver.findContainer(machine, never), undefined, machine);
  assert.deepEqual(listJournal(stack.home), []);
  assert.deepEqual(await listClaimTags(stack.project), []);
}

async function listPending(stack: Stack): Promise<unknown[]> {
  const state = JSON.parse(await stack.state()) as { deployment: { pending_operations?: unknown[] } };
  return state.deployment.pending_operations ?? [];
}

test("Ctrl-C, or SIGTERM, ends the builds of all images at once and leaves nothing behind", async (t) => {
  const project = `cancel-${process.pid}`;
  const stack = await createStack(t, project, declareImages(project, "sleep 600", ["one", "two", "three"]));

  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const up = await startLongBuild(stack, 3);
    const machines = listJournal(stack.home).map((entry) => entry.machine);
    assert.equal(machines.length, 3);
    const startedAt = Date.now();
    process.kill(up.pid, signal);
    const { code, text } = await up.done;
    const tookMs = Date.now() - startedAt;
    t.diagnostic(`${signal}: ended after ${tookMs} ms`);
    assert.notEqual(code, 0, text);
    assert.ok(tookMs < NOISY_DEADLINE_MS, `${signal}: ended after ${tookMs} ms only`);
    assert.match(text, /cancelled/);
    await assertNothingLeft(stack, machines);
    assert.deepEqual(await listPending(stack), []);
  }

  stack.declare(declareImages(project, "echo fine > /result", ["one", "two", "three"]));
  await stack.up();
  assert.equal((await listClaimTags(project)).length, 3);
});

/** Moments of a build at which its process is killed, by what the engine has just done. */
const MOMENTS: [string, (event: EngineEvent, stack: Stack) => boolean][] = [
  ["the container is made", ({ type, action }) => type === "container" && action === "create"],
  ["a file is uploaded", ({ action }) => action === "extract-to-dir"],
  ["the container starts", ({ type, action }) => type === "container" && action === "start"],
  ["the step starts", ({ action }) => action.startsWith("exec_start")],
  ["the step ends", ({ action }) => action.startsWith("exec_die")],
  ["the image is committed", ({ action }) => action === "commit"],
  ["a post-processor tags", ({ action, name }, { project }) => action === "tag" && name.startsWith(project)],
  ["the claim is confirmed", ({ action, name }) => action === "tag" && name.endsWith("-live")],
  ["the first claim is dropped", ({ action }) => action === "untag"],
  ["the container is told to go", ({ type, action }) => type === "container" && action === "kill"],
];
const COMMITTED = 5;

test("a build that is killed at any moment leaves nothing that the next `up` does not find", async (t) => {
  const project = `kill-${process.pid}`;
  const declare = (round: number): Program => {
    const program = declareImages(project, "true");
    Object.assign(program.images["app"] ?? {}, {
      keep: 0,
      cache: false,
      provisioners: [
        { type: "file", content: "uploaded", destination: "/srv/file" },
        { type: "shell", inline: [`echo ${round} > /result`] },
      ],
      postProcessors: [{ type: "docker-tag", repository: `${project}/app`, tags: [`v${round}`] }],
    });
    return program;
  };
  const stack = await createStack(t, project, declare(0));
  const driver = await openDriver();

  for (const [round, [title, isMoment]] of MOMENTS.entries()) {
    stack.declare(declare(round));
    const machines: string[] = [];
    const stop = await followEvents((event) => {
      const [entry] = listJournal(stack.home);
      if (!entry || machines.length > 0) return;
      const isOwn = event.name === entry.machine || event.attributes["kiln-test"] === project;
      if (!isOwn || !isMoment(event, stack)) return;
      machines.push(entry.machine);
      process.kill(entry.owner.pid, "SIGKILL");
    });
    const text = await stack.failingUp();
    await stop();
    assert.equal(machines.length, 1, `killed when ${title}\n${text}`);

    const recovered = await stack.up();
    const id = String((await stack.outputs())["app-imageId"]);
    assert.equal(await runInImage(id, ["cat", "/result"]), `${round}\n`, title);
    assert.equal(await driver.findContainer(machines[0] ?? "", never), undefined, title);
    assert.deepEqual(listJournal(stack.home), [], title);
    const claims = await listClaimTags(project);
    assert.equal(claims.length, 1, `${title}: ${claims.join(" ")}\n${text}\n${recovered.text}`);
    assert.equal(await countImages(project), 1, `one image after: ${title}`);
    if (round >= COMMITTED) assert.match(recovered.text, /found: sha256:\S+ has this fingerprint/, title);
    assert.deepEqual(
      (await driver.findImage(id, never))?.tags.filter((tag) => tag.startsWith(project)),
      [`${project}/app:v${round}`],
      title,
    );
  }
});

/** Moments at which files become a layer of an image. */
const LAYER_MOMENTS: [string, (event: EngineEvent, machine: string) => boolean][] = [
  ["the layer is loaded", ({ type, action }) => type === "image" && action === "load"],
  ["its container is made", ({ action, name }, machine) => action === "create" && name === `${machine}-next`],
  ["it is a stage", ({ action, name }) => action === "tag" && name.startsWith("kiln.local/stage/")],
  ["the image is committed", ({ action, name }, machine) => action === "commit" && name.startsWith(machine)],
];

test("a build that is killed while files become a layer leaves nothing behind either", async (t) => {
  const project = `layer-${process.pid}`;
  const declare = (round: number): Program => ({
    images: {
      app: {
        image: tinyImage(),
        keep: 0,
        provisioners: [{ type: "file", source: "many/", destination: "/many/" }],
        triggers: { round: String(round) },
      },
    },
  });
  const stack = await createStack(t, project, declare(0));
  for (let index = 0; index < 150; index++) stack.write(`many/${index}`, String(index));
  const driver = await openDriver();
  const nameless = await listNameless();

  for (const [round, [title, isMoment]] of LAYER_MOMENTS.entries()) {
    stack.declare(declare(round));
    let machine = "";
    const stop = await followEvents((event) => {
      const [entry] = listJournal(stack.home);
      if (!entry || machine !== "" || !isMoment(event, entry.machine)) return;
      machine = entry.machine;
      process.kill(entry.owner.pid, "SIGKILL");
    });
    const text = await stack.failingUp();
    await stop();
    assert.notEqual(machine, "", `killed when ${title}\n${text}`);

    await stack.up();
    const id = String((await stack.outputs())["app-imageId"]);
    assert.equal(await runInImage(id, ["cat", "/many/149"]), "149", title);
    assert.deepEqual(await driver.listTags(`kiln.local/draft/${machine}`, never), [], title);
    for (const name of [machine, `${machine}-next`])
      assert.equal(await driver.findContainer(name, never), undefined, title);
    assert.deepEqual(listJournal(stack.home), [], title);
    assert.equal((await listClaimTags(project)).length, 1, title);
  }
  await stack.destroy();
  assert.deepEqual(await listClaimTags(project), []);
  assert.deepEqual(await listNameless(), nameless);
});

test("the death of Pulumi's engine ends the build, and a second stack's build is never swept", async (t) => {
  const project = `engine-${process.pid}`;
  const stack = await createStack(t, project, declareImages(project, "sleep 600"));
  const other = await createStack(t, `beside-${process.pid}`, declareImages(project, "true"), {
    home: stack.home,
  });

  const up = await startLongBuild(stack, 1);
  const machines = listJournal(stack.home).map((entry) => entry.machine);
  await other.up();
  assert.deepEqual(
    listJournal(stack.home).map((entry) => entry.machine),
    machines,
  );
  assert.equal((await (await openDriver()).findContainer(machines[0] ?? "", never))?.running, true);

  process.kill(up.pid, "SIGKILL");
  await waitUntil("the provider has cleaned up", () => listJournal(stack.home).length === 0);
  await assertNothingLeft(stack, machines);

  stack.declare(declareImages(project, "true"));
  await stack.recover();
  await stack.mustRun(["refresh", "--yes", "--skip-preview", "--clear-pending-creates"]);
  await stack.up();
  assert.deepEqual(await listPending(stack), []);
  assert.equal((await listClaimTags(project)).length, 1);
});

test("a second Ctrl-C ends Pulumi at once, and what it leaves the next `up` finds", async (t) => {
  const project = `twice-${process.pid}`;
  const stack = await createStack(t, project, declareImages(project, "sleep 600"));
  const up = await startLongBuild(stack, 1);
  const machines = listJournal(stack.home).map((entry) => entry.machine);
  process.kill(up.pid, "SIGINT");
  process.kill(up.pid, "SIGINT");
  assert.notEqual((await up.done).code, 0);
  await stack.recover();
  stack.declare(declareImages(project, "true"));
  await stack.mustRun(["refresh", "--yes", "--skip-preview", "--clear-pending-creates"]);
  await stack.up();
  const driver = await openDriver();
  for (const machine of machines) assert.equal(await driver.findContainer(machine, never), undefined);
  assert.deepEqual(listJournal(stack.home), []);
  assert.equal((await listClaimTags(project)).length, 1);
  assert.equal(await countImages(project), 1);
});
