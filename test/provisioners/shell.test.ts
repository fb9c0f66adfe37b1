import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { validate } from "../../src/core/schema";
import { definition, type ShellOptions } from "../../src/provisioners/shell";
import { inContext } from "../support/context";
import { FakeCommunicator } from "../support/fake-communicator";

const REMOTE = "/tmp/script_234567.sh";

function provision(options: ShellOptions, machine: FakeCommunicator): Parameters<typeof inContext>[1] {
  return (context) => definition.create(options, undefined).provision(context, machine);
}

test("inline lines become one script that is run and removed in one call", async (t) => {
  const machine = new FakeCommunicator();
  await inContext(t, provision({ inline: ["echo one", "echo two"] }, machine));
  assert.equal(machine.commands[0]?.stdin, "#!/bin/sh -e\necho one\necho two\n");
  assert.equal(machine.commands.length, 1);
  assert.equal(
    machine.commands[0]?.command.replace(/kiln-start-\w+/, "BEGUN"),
    `cat >'${REMOTE}' && chmod 0755 '${REMOTE}' || { echo "the script cannot be written to "'${REMOTE}' >&2; exit 126; }; echo BEGUN; ` +
      `(chmod +x ${REMOTE};  ${REMOTE}\n) </dev/null 2>&1; code=$?; rm -f '${REMOTE}'; exit $code`,
  );
});

test("a shebang of the first line stays, one that is given always stands first", async (t) => {
  const machine = new FakeCommunicator();
  await inContext(t, provision({ inline: ["#!/bin/bash", "true"], remotePath: "/a" }, machine));
  await inContext(
    t,
    provision({ inline: ["#!/bin/bash", "true"], inlineShebang: "/bin/ash", remotePath: "/b" }, machine),
  );
  assert.equal(machine.commands[0]?.stdin, "#!/bin/bash\ntrue\n");
  assert.equal(machine.commands[1]?.stdin, "#!/bin/ash\n#!/bin/bash\ntrue\n");
});

test("scripts run in order, with Unix line ends unless they are binary", async (t) => {
  const machine = new FakeCommunicator();
  const run = async (binary: boolean): Promise<void> => {
    await inContext(t, async (context) => {
      fs.writeFileSync(path.join(context.cwd, "a.sh"), "echo a\r\n");
      await provision({ scripts: ["a.sh"], binary, remotePath: "/s" }, machine)(context);
    });
  };
  await run(false);
  assert.equal(machine.commands[0]?.stdin, "echo a\n");
  await run(true);
  assert.equal(machine.commands[1]?.stdin, "echo a\r\n");
});

test("plain variables stand in the command, secret ones only in its environment", async (t) => {
  const machine = new FakeCommunicator();
  const options = {
    inline: ["true"],
    environment: { B: "it's", A: "1" },
    secretEnvironment: ["TOKEN"],
    executeCommand: "sudo {{.Vars}} {{ .Path }}",
  };
  await inContext(t, provision(options, machine), { secrets: { TOKEN: "s3cr3t-value" } });
  const [first] = machine.commands;
  assert.match(first?.command ?? "", /sudo A='1' B='it'"'"'s' \/tmp/);
  assert.doesNotMatch(first?.command ?? "", /s3cr3t/);
  assert.equal(first?.environment["TOKEN"], "s3cr3t-value");
  assert.equal(first?.environment["PACKER_BUILD_NAME"], "app");
});

test("a failing script's error has its exit code and the last 20 lines of its output", async (t) => {
  const machine = new FakeCommunicator();
  const lines = Array.from({ length: 30 }, (_, index) => `line ${index}`);
  machine.answers = [{ output: lines.join("\n"), exitCode: 3 }];
  await assert.rejects(inContext(t, provision({ inline: ["make test"] }, machine)), (error: Error) => {
    assert.match(error.message, /^shell: make test: exit code 3\n/);
    assert.deepEqual(
      error.message.split("\n").slice(1),
      lines.slice(10).map((line) => `  ${line}`),
    );
    return true;
  });
  machine.answers = [{ exitCode: 3 }];
  await inContext(t, provision({ inline: ["make test"], validExitCodes: [0, 3] }, machine));
});

test("a script that has begun is not run again when the connection is lost", async (t) => {
  const machine = new FakeCommunicator();
  machine.answers = [{ begun: true, lost: true }, {}];
  await assert.rejects(
    inContext(t, provision({ inline: ["apt-get install -y nginx"] }, machine)),
    /went away, while a script ran there\. .*`expectDisconnect`.*`pauseBefore`/,
  );
  assert.equal(machine.commands.length, 1);
});

test("a script that cannot be reached is started again", async (t) => {
  const machine = new FakeCommunicator();
  machine.answers = [{ lost: true }, { begun: true }];
  await inContext(t, provision({ inline: ["true"] }, machine));
  assert.equal(machine.commands.length, 2);
});

test("a lost connection is tried again, but not where it is expected", async (t) => {
  const machine = new FakeCommunicator();
  machine.answers = [{ lost: true }, {}];
  await assert.rejects(
    inContext(t, provision({ inline: ["true"], startRetryTimeout: "0s" }, machine)),
    /went away/,
  );
  machine.answers = [{ lost: true }, {}];
  await inContext(t, provision({ inline: ["reboot"], expectDisconnect: true }, machine));
  assert.equal(machine.reconnects, 1);
  assert.equal(
    machine.commands.at(-1)?.command,
    `rm -f '${REMOTE}'`,
    "the script is removed when the machine is back",
  );
});

test("a reboot that comes after the script's end does not hit the next step", async (t) => {
  const machine = new FakeCommunicator();
  machine.answers = [{ begun: true }, { lost: true }, {}];
  await inContext(t, provision({ inline: ["reboot"], expectDisconnect: true }, machine));
  assert.equal(machine.reconnects, 1);
  assert.deepEqual(
    machine.commands.slice(1).map(({ command }) => command),
    ["sleep 5", `rm -f '${REMOTE}'`],
  );
});

test("with a secret in the options neither text nor output is shown", async (t) => {
  const machine = new FakeCommunicator();
  machine.answers = [{ output: "token is hunter2\n", exitCode: 1 }];
  await assert.rejects(
    inContext(t, provision({ inline: ["use hunter2"] }, machine), { hideCommands: true }),
    (error: Error) => {
      assert.doesNotMatch(error.message, /hunter2/);
      assert.match(error.message, /secretEnvironment/);
      return true;
    },
  );
});

test("with a secret in the options the environment stands in no command", async (t) => {
  const machine = new FakeCommunicator();
  const options = { inline: ["true"], environment: { URL: "https://me:hunter2@host" } };
  await inContext(t, provision(options, machine), { hideCommands: true });
  assert.doesNotMatch(machine.commands[0]?.command ?? "", /hunter2/);
  assert.equal(machine.commands[0]?.environment["URL"], options.environment.URL);
});

test("where no value may stand in a command, `{{.Vars}}` for a program that drops the environment is an error", async (t) => {
  const options = { inline: ["true"], environment: { URL: "https://me:hunter2@host" } };
  const run = (executeCommand: string): Promise<unknown> =>
    inContext(t, provision({ ...options, executeCommand }, new FakeCommunicator()), { hideCommands: true });
  await assert.rejects(run("sudo env {{ .Vars }} {{.Path}}"), /secretEnvironment/);
  await assert.rejects(run("{{.Vars}} sudo -S {{.Path}}"), /sudo -E/);
  for (const passes of [
    "{{.Vars}} bash {{.Path}}",
    "env {{.Vars}} {{.Path}}",
    "{{.Vars}} /usr/bin/env bash {{.Path}}",
    "{{ .Vars }} sudo -E bash '{{ .Path }}'",
    "{{ .Vars }} sudo -SE {{ .Path }}",
    "sudo {{.Path}}",
  ])
    await run(passes);
});

test("exactly one of inline, script and scripts", () => {
  assert.deepEqual(validate(definition.schema, { inlin: ["x"] }, { prefix: ["provisioners", 0] }), [
    { path: "provisioners[0].inlin", reason: "unknown option; did you mean `inline`?" },
    { path: "provisioners[0]", reason: "expected exactly one of `inline`, `script`, `scripts`, got none" },
  ]);
  assert.deepEqual(validate(definition.schema, { inline: ["x"], script: "y", timeout: "5 minutes" }), [
    { path: "timeout", reason: 'expected a duration such as "30m" or "1h30m", got "5 minutes"' },
    { path: "", reason: "expected exactly one of `inline`, `script`, `scripts`, got `inline` and `script`" },
  ]);
});
