import assert from "node:assert/strict";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { formatOwner } from "../../src/core/claims";
import { imageExists, never, openDriver, runInImage, tinyImage } from "../support/docker";
import { describeImage } from "../support/image-files";
import { createStack, type Program, type Stack } from "../support/stack";

interface Unit {
  type: string;
  [option: string]: unknown;
}

function declareApp(provisioners: Unit[], more: object = {}): Program {
  return { images: { app: { image: tinyImage(), provisioners, changes: ['CMD ["sh"]'], ...more } } };
}

/** Each step leaves a file; a stage after each, however short it is. */
function makeSteps(project: string, edits: Record<number, string> = {}): Unit[] {
  return Array.from({ length: 10 }, (_, index) => ({
    type: "shell",
    inline: [
      `echo "$MODE ${edits[index + 1] ?? project}" > /step-${index + 1}`,
      "umask 027",
      `mkdir /d${index}`,
    ],
    cache: true,
  }));
}

/** Marks of one image's builds on stages: others use the engine too. */
async function listStages(project: string, name = "app"): Promise<string[]> {
  const tags = await (await openDriver()).listTags("kiln.local/stage/*", never);
  const owner = formatOwner(project, "test", urnOf(project, name), "").split("/")[2]?.slice(0, 8) ?? "";
  return tags.map(({ tag }) => tag).filter((tag) => tag.split(":")[1]?.startsWith(owner));
}

function urnOf(project: string, name: string): string {
  return `urn:pulumi:test::${project}::pulumi-nodejs:dynamic/kiln/docker:Image::${name}`;
}

async function describeApp(stack: Stack): Promise<unknown> {
  return describeImage(String((await stack.outputs())["app-imageId"]));
}

async function up(stack: Stack, ...more: string[]): Promise<string> {
  return (await stack.up(...more)).text;
}

test("the ninth step of ten is edited: eight are reused, and the image is what a cold build makes", async (t) => {
  const project = `stages-${process.pid}`;
  const stack = await createStack(t, project, declareApp(makeSteps(project)));
  const first = await up(stack);
  assert.doesNotMatch(first, /reused/);

  const edited = makeSteps(project, { 9: "edited" });
  stack.declare(declareApp(edited));
  const second = await up(stack);
  assert.match(second, /8 steps reused; step 9 runs: inline changed/);
  assert.match(second, /step 10 of 12: shell: echo "\$MODE edited"/);
  assert.doesNotMatch(second, /step 9 of 12/);
  const resumed = await describeApp(stack);

  const replaced = await up(stack, "--replace", urnOf(project, "app"));
  assert.match(replaced, /no step reused: a rebuild was asked for/);
  assert.match(replaced, /step 2 of 12/);
  assert.deepEqual(await describeApp(stack), resumed);

  stack.declare(declareApp(edited, { environment: { MODE: "other" } }));
  const other = await up(stack);
  assert.match(other, /no step reused; step 1 runs: environment\.MODE changed/);
  assert.match(other, /step 2 of 12/);

  stack.declare(declareApp(edited, { cache: false }));
  const without = await up(stack);
  assert.doesNotMatch(without, /reused/);
  assert.deepEqual(await describeApp(stack), resumed);

  await stack.destroy();
  assert.deepEqual(await listStages(project), []);
});

test("a failed step is not saved, and the next up goes on after the last good one", async (t) => {
  const project = `resume-${process.pid}`;
  const steps = makeSteps(project).slice(0, 3);
  const broken = { type: "shell", inline: ["echo half > /half", "exit 3"], cache: true };
  const stack = await createStack(t, project, declareApp([...steps, broken]));
  assert.match(await stack.failingUp(), /exit code 3/);
  stack.declare(declareApp([...steps, { ...broken, inline: ["echo whole > /whole"] }]));
  assert.match(await up(stack), /3 steps reused; step 4 runs: inline changed/);
  const id = String((await stack.outputs())["app-imageId"]);
  assert.doesNotMatch(await runInImage(id, ["ls", "/"]), /half/);
  await stack.destroy();
});

test("a token that a step writes and a later one removes is in no layer, and a stage after it is searched", async (t) => {
  const project = `token-${process.pid}`;
  const token = `s3cret-${process.pid}-${"x".repeat(16)}`;
  const steps = (last: string, clean: string): Unit[] => [
    ...makeSteps(project).slice(0, 2),
    {
      type: "shell",
      inline: ['echo "$TOKEN" > /token; echo "$TOKEN" | base64 > /encoded'],
      secretEnvironment: ["TOKEN"],
    },
    { type: "shell", inline: [clean], cache: true },
    { type: "shell", inline: [`echo ${last} > /last`], cache: true },
  ];
  const declare = (last: string, clean: string): Program =>
    declareApp(steps(last, clean), { secrets: { TOKEN: { secret: token } } });
  const holds = async (): Promise<boolean> => {
    const id = String((await stack.outputs())["app-imageId"]);
    const stages = await listStages(project);
    const saved = await (await openDriver()).saveImages([id, ...stages], never);
    const content = await text(saved);
    return content.includes(token) || content.includes(Buffer.from(token).toString("base64").slice(0, -4));
  };
  const stack = await createStack(t, project, declare("one", "rm /token"));
  await up(stack);
  assert.equal((await listStages(project)).length, 2, "its base64 is still there: no stage after it");

  stack.declare(declare("one", "rm /token /encoded"));
  assert.match(await up(stack), /2 steps reused; step 3 runs: it was not saved/);
  assert.equal(await holds(), false);

  stack.declare(declare("two", "rm /token /encoded"));
  assert.match(await up(stack), /4 steps reused; step 5 runs: inline changed/);
  assert.equal(await holds(), false);
  await stack.destroy();
  assert.deepEqual(await listStages(project), []);
});

test("what a stage cannot hold ends them, and the log says why", async (t) => {
  const project = `ends-${process.pid}`;
  const obstacles: Record<string, Unit> = {
    "a process lives on \\(sleep\\)": { type: "shell", inline: ["sleep 1000 >/dev/null 2>&1 &"] },
    "/dev/shm has content": { type: "shell", inline: ["echo x > /dev/shm/x"] },
    "/etc/hosts has content": { type: "shell", inline: ["echo 127.0.0.9 me >> /etc/hosts"] },
    "/scratch has content": { type: "shell", inline: ["echo x > /scratch/x"] },
    "acts outside of the machine": { type: "shell-local", command: "true" },
  };
  const [first, second] = makeSteps(project);
  assert.ok(first && second);
  const images = Object.entries(obstacles).map(([, unit], index): [string, object] => [
    `image${index}`,
    {
      image: tinyImage(),
      provisioners: [first, unit.type === "shell" ? { ...unit, cache: true } : unit, second],
      tmpfs: ["/scratch"],
      triggers: { index: String(index) },
    },
  ]);
  const stack = await createStack(t, project, { images: Object.fromEntries(images) as Program["images"] });
  await stack.up();
  for (const [name] of images)
    assert.equal((await listStages(project, name)).length, 1, "one, before the obstacle");
  stack.declare({
    images: Object.fromEntries(images.map(([name, args]) => [name, { ...args, changes: ["ENV A=1"] }])),
  });
  const again = await up(stack);
  for (const reason of Object.keys(obstacles))
    assert.match(again, new RegExp(`1 step reused; step 2 runs: it was not saved: .*${reason}`));
  await stack.destroy();
  for (const [name] of images) assert.deepEqual(await listStages(project, name), []);
});

test("two images that need the same stages at once build them once", async (t) => {
  const project = `once-${process.pid}`;
  const shared = [
    { type: "shell", inline: ["sleep 1; cat /proc/sys/kernel/random/uuid > /made"], cache: true },
    { type: "shell", inline: ["sleep 1; cat /proc/sys/kernel/random/uuid > /made-too"], cache: true },
  ];
  const image = (name: string): Record<string, unknown> => ({
    image: tinyImage(),
    triggers: { project },
    provisioners: [...shared, { type: "shell", inline: [`echo ${name} > /name`] }],
  });
  const stack = await createStack(t, project, { images: { one: image("one"), two: image("two") } });
  assert.match(await up(stack), /another build has made it meanwhile|2 steps reused/);
  const outputs = await stack.outputs();
  const read = (name: string): Promise<string> =>
    runInImage(String(outputs[`${name}-imageId`]), ["cat", "/made", "/made-too"]);
  assert.equal(await read("one"), await read("two"));
  await stack.destroy();
  assert.equal(await imageExists(String(outputs["one-imageId"])), false);
});
