import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, test } from "node:test";
import { promisify } from "node:util";
import { connectEngine } from "../../../src/platforms/docker/engine";
import { EngineDriver } from "../../../src/platforms/docker/engine-driver";
import { EngineError, EngineUnreachableError } from "../../../src/platforms/docker/engine-error";
import { FakeEngine, makeEndpoint } from "./fake-engine";

let fake: FakeEngine;
beforeEach(async () => {
  fake = await FakeEngine.start();
});
afterEach(() => fake.stop());

describe("version", () => {
  for (const [offered, spoken] of [
    ["1.40", "1.40"],
    ["1.41", "1.41"],
    ["1.47", "1.47"],
    ["1.52", "1.47"],
  ] as const) {
    test(`an engine of ${offered} is spoken to in ${spoken}`, async () => {
      fake.apiVersion = offered;
      fake.answer = (_request, response) => response.writeHead(204).end();
      const engine = await connectEngine(fake.endpoint);
      await engine.request({ method: "GET", path: "/info" });
      assert.deepEqual(fake.requests, ["HEAD /_ping", `GET /v${spoken}/info`]);
    });
  }

  test("too old, and no Docker at all, are refused with the reason", async () => {
    fake.apiVersion = "1.9";
    await assert.rejects(connectEngine(fake.endpoint), /API 1\.9, which is too old/);
    fake.apiVersion = undefined;
    await assert.rejects(connectEngine(fake.endpoint), /DOCKER_HOST\) names no API version/);
  });
});

test("where two removals meet on an image, the one that loses is asked again", async () => {
  let calls = 0;
  fake.answer = (_request, response) => {
    const isFirst = calls++ === 0;
    response
      .writeHead(isFirst ? 500 : 404, { "Content-Type": "application/json" })
      .end('{"message":"unrecognized image ID sha256:0e99"}');
  };
  const driver = new EngineDriver(await connectEngine(fake.endpoint));
  assert.equal(await driver.untagImage("kiln.local/a/b/c:tag", new AbortController().signal), "missing");
  assert.equal(calls, 2);
});

describe("request", () => {
  test("forty in a row share one connection, refusals and streams included", async () => {
    fake.answer = (request, response) =>
      response
        .writeHead(request.url?.includes("missing") ? 404 : 200, { "Content-Type": "application/json" })
        .end('{"Id":"a"}');
    const engine = await connectEngine(fake.endpoint);
    for (let i = 0; i < 20; i++) {
      const { body } = await engine.request<{ Id: string }>({ method: "POST", path: "/x", body: { i } });
      assert.equal(body.Id, "a");
      await assert.rejects(engine.request({ method: "GET", path: "/missing" }), EngineError);
      await engine.followProgress({ method: "POST", path: "/pull" });
    }
    assert.equal(fake.connections, 1);
  });

  test("query values and body arrive as the engine reads them", async () => {
    let sent = "";
    fake.answer = (request, response) => {
      request.on("data", (chunk: Buffer) => (sent += chunk.toString()));
      request.on("end", () => response.writeHead(201).end());
    };
    const engine = await connectEngine(fake.endpoint);
    const query = { filters: { reference: ["a b"] }, changes: ["A", "B"], force: true, none: undefined };
    await engine.request({ method: "POST", path: "/commit", query, body: { Cmd: ["ü"] } });
    assert.equal(sent, '{"Cmd":["ü"]}');
    assert.equal(
      decodeURIComponent(fake.requests[1] ?? "").replaceAll("+", " "),
      'POST /v1.41/commit?filters={"reference":["a b"]}&changes=A&changes=B&force=true',
    );
  });

  test("an expected status is a value, any other an error with the engine's words", async () => {
    fake.answer = (_request, response) => response.writeHead(409).end('{"message":"name is taken"}\n');
    const engine = await connectEngine(fake.endpoint);
    const reply = await engine.request({ method: "POST", path: "/x", expect: { 409: "taken" } });
    assert.equal(reply.meaning, "taken");
    await assert.rejects(engine.request({ attempt: "Creating a", method: "POST", path: "/x" }), (error) => {
      assert.ok(error instanceof EngineError);
      assert.equal(error.status, 409);
      assert.equal(error.message, "Creating a: name is taken (HTTP 409)");
      return true;
    });
  });

  test("an answer that is no JSON does not get into the error", async () => {
    fake.answer = (_request, response) =>
      response.writeHead(200, { "Content-Type": "application/json" }).end('{"Env":["TOKEN=s3cret');
    const engine = await connectEngine(fake.endpoint);
    await assert.rejects(engine.request({ method: "GET", path: "/x" }), (error: Error) => {
      assert.match(error.message, /GET \/x: the engine's answer is not valid JSON/);
      assert.doesNotMatch(`${error.stack} ${String(error.cause)}`, /s3cret/);
      return true;
    });
  });

  test("a kept connection that the engine closed is replaced for a GET", async () => {
    let answered = 0;
    fake.answer = (request, response) => {
      answered += 1;
      if (answered === 1) response.writeHead(200).end("one");
      else if (answered === 2) request.socket.destroy();
      else response.writeHead(200).end("two");
    };
    const engine = await connectEngine(fake.endpoint);
    await engine.request({ method: "GET", path: "/x" });
    const { body } = await engine.request({ method: "GET", path: "/x" });
    assert.equal(body, "two");
  });

  test("a POST whose connection breaks is not repeated", async () => {
    fake.answer = (request) => request.socket.destroy();
    const engine = await connectEngine(fake.endpoint);
    await assert.rejects(engine.request({ method: "POST", path: "/x" }), EngineUnreachableError);
    assert.equal(fake.requests.length, 2);
  });

  test("an upload that is refused halfway rejects with the refusal, and drops the rest", async () => {
    fake.answer = (request, response) => {
      request.once("data", () => response.writeHead(404).end('{"message":"no such container"}'));
    };
    const engine = await connectEngine(fake.endpoint);
    const endless = new Readable({ read: (): void => void endless.push(Buffer.alloc(65536)) });
    await assert.rejects(engine.request({ attempt: "Uploading", method: "PUT", path: "/x", body: endless }), {
      message: "Uploading: no such container (HTTP 404)",
    });
    if (!endless.closed) await once(endless, "close");
  });

  test("a body that fails rejects with its own error", async () => {
    fake.answer = (request) => request.resume();
    const engine = await connectEngine(fake.endpoint);
    const broken = new Error("disk on fire");
    const body = new Readable({ read: (): void => void body.destroy(broken) });
    await assert.rejects(engine.request({ method: "PUT", path: "/x", body }), broken);
  });
});

describe("an engine that cannot be reached", () => {
  test("no socket", async () => {
    await assert.rejects(connectEngine(makeEndpoint("/nowhere/e.sock")), (error: Error) => {
      assert.ok(error instanceof EngineUnreachableError);
      assert.match(
        error.message,
        /^Connecting to Docker: there is no socket at unix:\/\/\/nowhere\/e\.sock \(DOCKER_HOST\)\. Start Docker/,
      );
      return true;
    });
  });

  test("nobody listens", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    await new Promise((resolve) => server.close(resolve));
    const endpoint = {
      ...makeEndpoint(""),
      transport: { kind: "tcp", host: "127.0.0.1", port, pathPrefix: "" } as const,
    };
    await assert.rejects(connectEngine(endpoint), /nothing listens/);
  });

  test("silence ends at the deadline", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const endpoint = {
      ...makeEndpoint(""),
      transport: { kind: "tcp", host: "127.0.0.1", port, pathPrefix: "" } as const,
    };
    await assert.rejects(connectEngine(endpoint, { timeoutMs: 20 }), /no answer in 0\.02 s/);
    server.close();
  });
});

test("an idle connection does not hold the process", async () => {
  const program = `
    const { connectEngine } = require(process.argv[1]);
    connectEngine(JSON.parse(process.argv[2])).then((engine) => console.log(engine.apiVersion));`;
  const module = join(__dirname, "../../../src/platforms/docker/engine.js");
  const run = promisify(execFile)(process.execPath, ["-e", program, module, JSON.stringify(fake.endpoint)]);
  assert.equal((await run).stdout, "1.41\n");
});
