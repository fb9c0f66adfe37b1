import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { before, test } from "node:test";
import { UNKNOWN } from "../../src/core/schema";
import { check, diff } from "../../src/provider";
import type { State } from "../../src/provider/state";
import { mustCheck, mustRefuse, withHidden, write } from "../support/check";
import { makeFolder } from "../support/context";

const FIXTURES = path.resolve(__dirname, "..", "..", "..", "test", "fixtures");

before(() => {
  // No engine: what is tested here must not need one.
  process.env["DOCKER_HOST"] = "unix:///nonexistent/docker.sock";
});

test("the fingerprints of these options are for ever", async (t) => {
  const folder = makeFolder(t);
  process.chdir(folder);
  write(folder, {
    "app/main.py": "print(1)\n",
    "app/lib/util.py": "x = 1\n",
    "run.sh": "echo run\n",
    "one.txt": "one\n",
  });
  const file = path.join(FIXTURES, "fingerprints.json");
  const cases = JSON.parse(fs.readFileSync(file, "utf8")) as {
    options: Record<string, unknown>;
    fingerprint: string;
  }[];
  assert.ok(cases.length >= 20);
  for (const { options, fingerprint } of cases) {
    assert.equal((await mustCheck(options)).fingerprint, fingerprint, JSON.stringify(options));
  }
  assert.equal(new Set(cases.map((one) => one.fingerprint)).size, cases.length, "and all differ");
});

test("what does not shape the image does not change its fingerprint", async (t) => {
  const folder = makeFolder(t);
  process.chdir(folder);
  write(folder, { "app/main.py": "print(1)\n", "app/note.log": "1" });
  const step = { type: "file", source: "app/", destination: "/app", ignore: ["*.log"] };
  const base = { image: "python:3.9-slim", provisioners: [step] };
  const { fingerprint } = await mustCheck(base);
  const same: Record<string, unknown>[] = [
    { ...base, image: "docker.io/library/python:3.9-slim" },
    { ...base, postProcessors: [{ type: "docker-tag", repository: "a" }] },
    { ...base, buildTimeout: "1h", onError: "abort", pull: "never", host: "tcp://127.0.0.1:1" },
    {
      ...base,
      registryAuth: [{ username: "a", password: "b" }],
      secrets: { TOKEN: "value" },
      deleteFromRegistry: true,
    },
    { ...base, provisioners: [{ ...step, timeout: "5m", maxRetries: 2, pauseBefore: "1s" }] },
    { ...base, provisioners: [{ ...step, source: path.join(folder, "app/") }] },
  ];
  for (const options of same)
    assert.equal((await mustCheck(options)).fingerprint, fingerprint, JSON.stringify(options));
  write(folder, { "app/note.log": "2" });
  assert.equal((await mustCheck(base)).fingerprint, fingerprint);
  write(folder, { "app/main.py": "print(2)\n" });
  assert.notEqual((await mustCheck(base)).fingerprint, fingerprint);
});

test("no absolute path reaches the inputs", async (t) => {
  const folder = fs.realpathSync(makeFolder(t));
  process.chdir(folder);
  write(folder, { "app/main.py": "x", "run.sh": "y" });
  const inputs = await mustCheck({
    image: "busybox",
    provisioners: [
      { type: "file", source: path.join(folder, "app/"), destination: "/app" },
      { type: "shell", scripts: [path.join(folder, "run.sh")] },
    ],
  });
  assert.ok(!JSON.stringify(inputs).includes(folder));
  assert.deepEqual(inputs.contents && Object.keys(inputs.contents).sort(), ["app/main.py", "run.sh"]);
});

test("all problems come at once, each with its path, in one failure without a property", async (t) => {
  process.chdir(makeFolder(t));
  const { failures } = await check(
    {},
    withHidden({
      imag: "busybox",
      pull: "sometimes",
      changes: ["RUN echo"],
      secrets: { A: "hunter2-long" },
      registryAuth: [{ username: "me", password: 42 }],
      provisioners: [
        { type: "shel", inline: ["x"] },
        { type: "shell", secretEnvironment: ["B"], inline: ["x"], timeout: 5 },
      ],
      postProcessors: [{ type: "docker-tag", repository: "UPPER" }],
    }),
  );
  assert.equal(failures?.length, 1);
  assert.equal(failures[0]?.property, "");
  const reason = failures[0]?.reason ?? "";
  for (const part of [
    "image: missing; expected a string",
    "imag: unknown option; did you mean `image`?",
    'pull: expected "missing" or "always" or "never", got "sometimes"',
    "changes[0]: expected one of the instructions",
    "registryAuth[0].password: expected a string",
    "`shel` cannot be used here; known are shell, file, shell-local",
    "provisioners[1].timeout: expected",
    'provisioners[1].secretEnvironment: "B" is not in `secrets` (there are: A)',
    "postProcessors[0].repository: expected a repository without a tag",
  ])
    assert.ok(reason.includes(part), `${part}\nis not in\n${reason}`);
  assert.ok(!reason.includes("hunter2") && !reason.includes("42"));
});

test("what cannot be read is told together with the other problems", async (t) => {
  process.chdir(makeFolder(t));
  const reason = await mustRefuse({
    imag: "busybox",
    provisioners: [
      { type: "shell", script: "missing.sh" },
      { type: "shell", inline: ["x"], secretEnvironment: 5 },
    ],
  });
  assert.match(reason, /imag: unknown option/);
  assert.match(reason, /missing\.sh \(a source of provisioners\.0\) does not exist/);
  assert.match(reason, /provisioners\[1\]\.secretEnvironment: expected an array/);
});

test("names and files of an image are refused where none is made", async (t) => {
  process.chdir(makeFolder(t));
  const tag = { type: "docker-tag", repository: "a" };
  const save = { type: "docker-save", path: "a.tar" };
  for (const [name, value] of Object.entries({ discard: true, exportPath: "out.tar" })) {
    const nothing = { image: "busybox", [name]: value };
    const reason = await mustRefuse({ ...nothing, postProcessors: [tag, { type: "docker-push" }] });
    assert.ok(
      reason.includes(`postProcessors[0]: \`docker-tag\` needs an image, and \`${name}\` makes none`),
    );
    assert.ok(reason.includes("postProcessors[1]: `docker-push` needs an image"));
    const nested = await mustRefuse({ ...nothing, postProcessors: [[{ type: "manifest" }, save]] });
    assert.ok(nested.includes("postProcessors[0][1]: `docker-save` needs an image"));
    await mustCheck({ ...nothing, postProcessors: [{ type: "manifest" }] });
  }
  await mustCheck({ image: "busybox", discard: false, postProcessors: [tag, save] });
  await mustCheck({ image: "busybox", exportPath: UNKNOWN, postProcessors: [tag] });
});

test("a value that is not known yet is no problem, at any place", async (t) => {
  process.chdir(makeFolder(t));
  const known: Record<string, unknown> = {
    image: "busybox",
    pull: "missing",
    platform: "linux/amd64",
    changes: ["CMD true"],
    secrets: { A: "value-of-a" },
    triggers: { a: "1" },
    buildTimeout: "30m",
    provisioners: [{ type: "shell", inline: ["x"], secretEnvironment: ["A"] }],
    postProcessors: [{ type: "docker-tag", repository: "a", tags: ["1"] }],
  };
  for (const name of Object.keys(known)) {
    const { failures, inputs } = await check({}, withHidden({ ...known, [name]: UNKNOWN }));
    assert.equal(failures, undefined, `${name}: ${JSON.stringify(failures)}`);
    const free = ["pull", "secrets", "buildTimeout", "postProcessors"].includes(name);
    assert.equal(inputs?.fingerprint === UNKNOWN, !free, name);
  }
  const deep = {
    ...known,
    provisioners: [
      { type: "shell", inline: [UNKNOWN], timeout: UNKNOWN },
      { type: "file", source: UNKNOWN, destination: UNKNOWN },
    ],
  };
  assert.equal((await check({}, withHidden(deep))).failures, undefined);
});

test("the diff replaces for the fingerprint, updates for post-processors, and else says no", async (t) => {
  process.chdir(makeFolder(t));
  const base = {
    image: "busybox",
    provisioners: [{ type: "shell", inline: ["x"] }],
    postProcessors: [{ type: "docker-tag", repository: "a", tags: ["1"] }],
  };
  const inputs = await mustCheck(base);
  const built = {
    artifact: { kind: "docker-image", id: "1", data: {} },
    records: [],
    engineId: "1",
    endpoint: "",
  };
  const __kiln = { ...inputs.__kiln, built };
  const state = { ...inputs, buildId: "1", imageId: "1", __kiln } as unknown as State;
  const answer = async (args: Record<string, unknown>): Promise<unknown> =>
    diff("1", state, await mustCheck(args, inputs));
  assert.deepEqual(await answer(base), { changes: false });
  assert.deepEqual(await answer({ ...base, buildTimeout: "1h", secrets: { A: "new-value" } }), {
    changes: false,
  });
  assert.deepEqual(
    await answer({ ...base, postProcessors: [{ type: "docker-tag", repository: "a", tags: ["2"] }] }),
    {},
  );
  assert.deepEqual(await answer({ ...base, deleteFromRegistry: true }), {});
  assert.deepEqual(await answer({ ...base, image: "alpine" }), { replaces: ["fingerprint"] });
  assert.deepEqual(await answer({ ...base, triggers: { now: "1" } }), { replaces: ["fingerprint"] });
  assert.deepEqual(await answer({ ...base, host: "tcp://127.0.0.1:1" }), { replaces: ["host"] });
  assert.deepEqual(await diff("1", { ...state, incomplete: true }, await mustCheck(base, inputs)), {
    changes: true,
  });
});

test("a fingerprint that comes in is kept: the user has frozen the image", async (t) => {
  process.chdir(makeFolder(t));
  const frozen = `k1:${"0".repeat(64)}`;
  assert.equal((await mustCheck({ image: "busybox", fingerprint: frozen })).fingerprint, frozen);
});
