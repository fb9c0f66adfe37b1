import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, test, type TestContext } from "node:test";
import { ConnectionLostError, TimeoutError } from "../../src/core/errors";
import { makeFolder } from "../support/context";
import { startRelay } from "../support/relay";
import { connectTo, hasSshd, never, run, startSshd, type Sshd } from "../support/sshd";

async function start(test: TestContext, settings: string[] = []): Promise<Sshd> {
  const sshd = await startSshd(settings);
  test.after(() => sshd.stop());
  return sshd;
}

describe("a real sshd", { skip: !hasSshd() }, () => {
  test("a command gives its outputs and exit code; a signal gives 128 and its number", async (t) => {
    const machine = await connectTo(t, await start(t));
    const first = await run(machine, "echo out; echo err >&2; exit 7");
    assert.equal(first.exitCode, 7);
    assert.deepEqual(first.output.toString().split("\n").sort(), ["", "err", "out"]);
    assert.equal((await run(machine, "kill -9 $$")).exitCode, 137);
    assert.equal((await run(machine, "printf 'no end'")).output.toString(), "no end");
  });

  test("binary output and input of megabytes come through whole, and a command need not read", async (t) => {
    const machine = await connectTo(t, await start(t));
    const bytes = randomBytes(20 * 1024 * 1024);
    assert.ok((await run(machine, "cat", { stdin: bytes })).output.equals(bytes));
    assert.equal((await run(machine, "exit 4", { stdin: bytes })).exitCode, 4);
    assert.equal((await run(machine, "cat; echo end")).output.toString(), "end\n");
  });

  test("an environment with every character reaches the command, and no command line holds it", async (t) => {
    const machine = await connectTo(t, await start(t));
    const value = `it's "new"\n$HOME \`id\` \\ ü\ttab\n`;
    const { output } = await run(
      machine,
      `printf '%s|%s' "$A" "$B"; cat; cat /proc/$$/cmdline /proc/$PPID/cmdline`,
      {
        environment: { A: value, B: "secret-4711" },
        stdin: "input\n",
      },
    );
    const text = output.toString();
    assert.ok(text.startsWith(`${value}|secret-4711input\n`), JSON.stringify(text));
    assert.equal(text.split("secret-4711").length, 2);
    await assert.rejects(run(machine, "true", { environment: { "a-b": "x" } }), /environment variable "a-b"/);
  });

  test("thirty commands at once, on a machine that allows ten, and on one that allows two", async (t) => {
    for (const most of [10, 2]) {
      const machine = await connectTo(t, await start(t, [`MaxSessions ${most}`]));
      const runs = Array.from({ length: 30 }, (_, index) => run(machine, `sleep 0.05; echo ${index}`));
      const outputs = (await Promise.all(runs)).map(({ output }) => Number(output.toString()));
      assert.deepEqual(
        outputs,
        Array.from({ length: 30 }, (_, index) => index),
      );
    }
  });

  test("a machine that allows no command says so instead of waiting for ever", async (t) => {
    const machine = await connectTo(t, await start(t, ["MaxSessions 0"]));
    await assert.rejects(run(machine, "true"), /Opening a channel: refused .* MaxSessions/);
  });

  test("a terminal: tty, no echo, the same bytes, environment and input by the side", async (t) => {
    const machine = await connectTo(t, await start(t), { sshPty: true });
    const script = `tty >/dev/null </dev/tty && printf 'a\\nb\\n'; printf '%s' "$SECRET"; cat; exit 3`;
    const { exitCode, output } = await run(machine, script, {
      environment: { SECRET: "s3cret\nline" },
      stdin: `${"x".repeat(9000)}\n`,
    });
    assert.equal(exitCode, 3);
    assert.equal(output.toString(), `a\nb\ns3cret\nline${"x".repeat(9000)}\n`);
    assert.equal((await run(machine, "cat; echo end")).output.toString(), "end\n");
    assert.deepEqual(
      fs.readdirSync("/tmp").filter((name) => name.startsWith(".kiln-")),
      [],
    );
  });

  test("what a step left running is ended when its time is over", async (t) => {
    const machine = await connectTo(t, await start(t));
    const file = path.join(makeFolder(t), "alive");
    const controller = new AbortController();
    const running = machine.exec(`(while :; do echo x >>${file}; sleep 0.02; done) & wait`, {
      signal: controller.signal,
    });
    while (!fs.existsSync(file)) await run(machine, "true");
    controller.abort(new TimeoutError("too long"));
    await assert.rejects(running, TimeoutError);
    const size = fs.statSync(file).size;
    await run(machine, "sleep 0.2");
    assert.equal(fs.statSync(file).size, size);
  });

  test("a connection that is cut during a command is an error of its own kind; the next command connects again", async (t) => {
    const sshd = await start(t);
    const relay = await startRelay(sshd.port);
    t.after(() => relay.stop());
    const machine = await connectTo(t, { ...sshd, port: relay.port });
    const running = machine.exec("echo begun; exec sleep 5", { signal: never, onOutput: () => relay.cut() });
    await assert.rejects(running, (error: Error) => {
      assert.ok(error instanceof ConnectionLostError);
      assert.match(error.message, /the connection to 127\.0\.0\.1:\d+ was lost/);
      return true;
    });
    assert.equal((await run(machine, "echo back")).output.toString(), "back\n");
    assert.equal(relay.connections, 2);
  });

  test("what runs on after a cut is ended before the next command, unless the cut was expected", async (t) => {
    const sshd = await start(t);
    const relay = await startRelay(sshd.port);
    t.after(() => relay.stop());
    const machine = await connectTo(t, { ...sshd, port: relay.port });
    for (const expectDisconnect of [false, true]) {
      const file = path.join(makeFolder(t), "alive");
      const work = `echo begun; for i in $(seq 100); do echo x >>${file}; sleep 0.02; done 2>/dev/null`;
      const running = machine.exec(work, { signal: never, onOutput: () => relay.cut(), expectDisconnect });
      await assert.rejects(running, ConnectionLostError);
      await run(machine, "true");
      const { size } = fs.statSync(file);
      await run(machine, "sleep 0.3");
      assert.equal(fs.statSync(file).size > size, expectDisconnect);
    }
  });

  test("a machine that falls silent is noticed by its unanswered questions", async (t) => {
    const sshd = await start(t);
    const relay = await startRelay(sshd.port);
    t.after(() => relay.stop());
    const machine = await connectTo(
      t,
      { ...sshd, port: relay.port },
      { sshReadWriteTimeout: "300ms", sshKeepAliveInterval: "0s" },
    );
    const running = machine.exec("echo begun; exec sleep 60", {
      signal: never,
      onOutput: () => relay.freeze(),
    });
    await assert.rejects(running, /nothing came or went for 300ms/);
  });

  test("reconnect waits for a machine that comes back, with its key pinned", async (t) => {
    const sshd = await start(t);
    const machine = await connectTo(t, sshd);
    await machine.reconnect(never);
    assert.equal((await run(machine, "echo 1")).output.toString(), "1\n");
    assert.equal(machine.hostKey, sshd.hostKey);
  });
});
