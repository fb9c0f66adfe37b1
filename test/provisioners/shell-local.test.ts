import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { definition } from "../../src/provisioners/shell-local";
import { inContext } from "../support/context";
import { FakeCommunicator } from "../support/fake-communicator";

test("runs on this machine, in the program's folder, with secrets in its environment and not in the log", async (t) => {
  let written = "";
  const { log } = await inContext(
    t,
    async (context) => {
      const options = { inline: ["echo $TOKEN > out", "echo token $TOKEN"], secretEnvironment: ["TOKEN"] };
      await definition.create(options, undefined).provision(context, new FakeCommunicator());
      written = fs.readFileSync(path.join(context.cwd, "out"), "utf8");
    },
    { secrets: { TOKEN: "s3cr3t-value" } },
  );
  assert.equal(written, "s3cr3t-value\n");
  assert.match(log, /token \[secret\]/);
  assert.doesNotMatch(log, /s3cr3t/);
});

test("as a post-processor it can read the artifact, and passes it on", async (t) => {
  await inContext(t, async (context) => {
    const artifact = { kind: "docker-image", id: "sha256:1", files: ["a.tar"], data: {} };
    const done = await definition
      .create({ command: "echo $KILN_ARTIFACT_ID $KILN_ARTIFACT_FILES > out" }, undefined)
      .process(context, artifact);
    assert.deepEqual(done, { artifact, made: [] });
    assert.equal(fs.readFileSync(path.join(context.cwd, "out"), "utf8"), "sha256:1 a.tar\n");
  });
});

test("a failure has the command, its exit code and its output", async (t) => {
  await assert.rejects(
    inContext(t, (context) =>
      definition
        .create({ command: "echo oh no; exit 7" }, undefined)
        .provision(context, new FakeCommunicator()),
    ),
    /^CommandError: shell-local: echo oh no; exit 7: exit code 7\n {2}oh no$/,
  );
});

test("an abort kills the command and what it started", async (t) => {
  const controller = new AbortController();
  const started = Date.now();
  await assert.rejects(
    inContext(
      t,
      async (context) => {
        const running = definition
          .create({ command: "sleep 60 & touch started; wait" }, undefined)
          .provision(context, new FakeCommunicator());
        const watch = setInterval(
          () => fs.existsSync(path.join(context.cwd, "started")) && controller.abort(),
          10,
        );
        await running.finally(() => clearInterval(watch));
      },
      { signal: controller.signal },
    ),
    /cancelled/,
  );
  assert.ok(Date.now() - started < 30_000);
});

test("a script may lie in a folder with a space and a quote in its name", async (t) => {
  await inContext(t, async (context) => {
    const script = "it's a folder/run.sh";
    fs.mkdirSync(path.join(context.cwd, path.dirname(script)));
    fs.writeFileSync(path.join(context.cwd, script), "#!/bin/sh\necho here > out\n", { mode: 0o755 });
    await definition.create({ script }, undefined).provision(context, new FakeCommunicator());
    assert.equal(fs.readFileSync(path.join(context.cwd, "out"), "utf8"), "here\n");
  });
});
