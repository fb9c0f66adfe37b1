import assert from "node:assert/strict";
import { once } from "node:events";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, test } from "node:test";
import { connectEngine } from "../../../src/platforms/docker/engine";
import { EngineUnreachableError } from "../../../src/platforms/docker/engine-error";
import { FakeEngine, makeFrame } from "./fake-engine";

let fake: FakeEngine;
beforeEach(async () => {
  fake = await FakeEngine.start();
});
afterEach(() => fake.stop());

describe("abort", () => {
  const reason = new Error("stop");

  test("before the call: nothing is sent", async () => {
    const engine = await connectEngine(fake.endpoint);
    await assert.rejects(
      engine.request({ method: "GET", path: "/x", signal: AbortSignal.abort(reason) }),
      reason,
    );
    assert.deepEqual(fake.requests, ["HEAD /_ping"]);
  });

  test("while the engine thinks, and while it answers: the connection goes at once", async () => {
    for (const answersFirst of [false, true]) {
      const controller = new AbortController();
      const closed = new Promise((resolve) => {
        fake.answer = (request, response) => {
          request.socket.once("close", resolve);
          if (answersFirst) response.write("half", () => controller.abort(reason));
          else controller.abort(reason);
        };
      });
      const engine = await connectEngine(fake.endpoint);
      await assert.rejects(engine.request({ method: "POST", path: "/x", signal: controller.signal }), reason);
      await closed;
    }
  });

  test("while a stream is read, and while a process runs", async () => {
    const streaming = new AbortController();
    fake.answer = (_request, response) => response.write("half");
    const engine = await connectEngine(fake.endpoint);
    const { body } = await engine.stream({ method: "GET", path: "/export", signal: streaming.signal });
    body.once("data", () => streaming.abort(reason));
    const [error] = (await once(body, "error")) as [Error];
    assert.equal(error, reason);

    const running = new AbortController();
    const closed = new Promise((resolve) => {
      fake.onUpgrade = (socket) =>
        void socket.once("end", resolve).once("close", resolve).write(makeFrame(1, "x"));
    });
    const attached = engine.attach({
      path: "/exec/1/start",
      onStdout: () => running.abort(reason),
      onStderr: () => undefined,
      signal: running.signal,
    });
    await assert.rejects(attached, reason);
    await closed;
  });

  test("leaves no listeners on the signal", async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => (listeners++, add(...args));
    signal.removeEventListener = (...args: Parameters<typeof remove>) => (listeners--, remove(...args));
    fake.answer = (_request, response) => response.writeHead(200).end("x");
    const engine = await connectEngine(fake.endpoint, { signal });
    await engine.request({ method: "GET", path: "/x", signal });
    await new Promise(setImmediate);
    assert.equal(listeners, 0);
  });
});

describe("progress", () => {
  test("messages come one by one, however the lines are cut", async () => {
    fake.answer = (_request, response) => {
      response.write('{"status":"Pul');
      response.write('ling"}\r\n\r\n{"status":"Done ');
      response.end('ü"}');
    };
    const engine = await connectEngine(fake.endpoint);
    const seen: unknown[] = [];
    await engine.followProgress({ method: "POST", path: "/images/create" }, (message) =>
      seen.push(message.status),
    );
    assert.deepEqual(seen, ["Pulling", "Done ü"]);
  });

  test("an error inside a 200 rejects", async () => {
    fake.answer = (_request, response) =>
      response
        .writeHead(200)
        .end('{"status":"x"}\n{"errorDetail":{"message":"denied: no"},"error":"denied"}\n');
    const engine = await connectEngine(fake.endpoint);
    const pull = engine.followProgress({ attempt: "Pulling a", method: "POST", path: "/images/create" });
    await assert.rejects(pull, { name: "EngineError", message: "Pulling a: denied: no" });
  });

  test("a connection that breaks halfway is no success", async () => {
    fake.answer = (request, response) => response.write('{"status":"x"}\n', () => request.socket.destroy());
    const engine = await connectEngine(fake.endpoint);
    const pull = engine.followProgress({ method: "POST", path: "/images/create" });
    await assert.rejects(pull, EngineUnreachableError);
  });
});

describe("attach", () => {
  test("input goes in, both outputs come out apart, with frames cut at every byte", async () => {
    let input = "";
    fake.onUpgrade = (socket) => {
      socket.on("data", (chunk: Buffer) => (input += chunk.toString()));
      socket.on("end", () => {
        // The request's own body comes first, as the fake does not parse it.
        input = input.replace('{"Detach":false}', "");
        const output = Buffer.concat([
          makeFrame(1, "out "),
          makeFrame(2, "err"),
          makeFrame(1, `of ${input}`),
        ]);
        for (const byte of output) socket.write(Buffer.from([byte]));
        socket.end();
      });
    };
    const engine = await connectEngine(fake.endpoint);
    let stdout = "";
    let stderr = "";
    await engine.attach({
      path: "/exec/1/start",
      body: { Detach: false },
      stdin: Readable.from([Buffer.from("hel"), Buffer.from("lo")]),
      onStdout: (chunk) => void (stdout += chunk.toString()),
      onStderr: (chunk) => void (stderr += chunk.toString()),
    });
    assert.deepEqual({ stdout, stderr }, { stdout: "out of hello", stderr: "err" });
    assert.equal(fake.requests[1], "POST /v1.41/exec/1/start");
  });

  test("a slow callback holds the process back", async () => {
    const total = 64 * 1024 * 1024;
    let written = 0;
    fake.onUpgrade = (socket) => {
      const frame = makeFrame(1, "x".repeat(1024 * 1024));
      const write = (): void => {
        while (written < total) {
          written += 1024 * 1024;
          if (!socket.write(frame)) return void socket.once("drain", write);
        }
        socket.end();
      };
      write();
    };
    const engine = await connectEngine(fake.endpoint);
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    let received = 0;
    let calls = 0;
    const attached = engine.attach({
      path: "/exec/1/start",
      onStdout: async (chunk) => {
        received += chunk.length;
        calls += 1;
        await gate;
      },
      onStderr: () => undefined,
    });
    // The writer stops when the kernel's buffers are full: some turns of the loop later nothing moves.
    for (let i = 0; i < 200; i++) await new Promise(setImmediate);
    assert.ok(written < total, `the writer got rid of all ${written} bytes`);
    assert.equal(calls, 1);
    release();
    await attached;
    assert.equal(received, total);
  });

  test("a refusal, a cut frame, and the engine's own error reject", async () => {
    const engine = await connectEngine(fake.endpoint);
    const attach = () =>
      engine.attach({
        attempt: "Running",
        path: "/exec/1/start",
        onStdout: () => undefined,
        onStderr: () => undefined,
      });
    fake.onUpgrade = (socket) => socket.end(makeFrame(1, "whole").subarray(0, 10));
    await assert.rejects(attach(), { message: "Running: the output ended in the middle of a frame" });
    fake.onUpgrade = (socket) => socket.end(makeFrame(3, "daemon is ill"));
    await assert.rejects(attach(), { message: "Running: daemon is ill" });
  });
});
