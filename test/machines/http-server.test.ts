import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as http from "node:http";
import { connect } from "node:net";
import * as path from "node:path";
import { test, type TestContext } from "node:test";
import { startHttpServer, type HttpServerOptions } from "../../src/machines/http-server";
import { makeFolder } from "../support/context";

interface Started {
  port: number;
  folder: string;
  lines: string[];
  get(name: string, headers?: Record<string, string>, method?: string): Promise<Answer>;
}

interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: string;
}

async function start(t: TestContext, options: Partial<HttpServerOptions> = {}): Promise<Started> {
  const folder = makeFolder(t);
  fs.mkdirSync(path.join(folder, "www", "sub"), { recursive: true });
  fs.writeFileSync(path.join(folder, "secret"), "secret");
  fs.writeFileSync(path.join(folder, "www", "a.cfg"), "0123456789");
  fs.writeFileSync(path.join(folder, "www", "empty"), "");
  fs.writeFileSync(path.join(folder, "www", "..odd"), "odd");
  fs.writeFileSync(path.join(folder, "www", "sub", "späce d"), "deep");
  fs.symlinkSync("../secret", path.join(folder, "www", "out"));
  fs.symlinkSync("..", path.join(folder, "www", "up"));
  fs.symlinkSync("a.cfg", path.join(folder, "www", "in"));
  fs.symlinkSync("loop", path.join(folder, "www", "loop"));
  const lines: string[] = [];
  const server = await startHttpServer({
    folder: path.join(folder, "www"),
    log: (line) => lines.push(line),
    ...options,
  });
  t.after(() => server.close());
  const { port } = server;
  return { port, folder, lines, get: (...request) => ask(port, ...request) };
}

/** The path goes out as it is: `fetch` would take ".." out of it. */
function ask(port: number, name: string, headers = {}, method = "GET"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request({ port, path: name, method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      );
    });
    request.on("error", reject).end();
  });
}

test("files and contents are served whole, and a content counts more than a file", async (t) => {
  const content = { "/a.cfg": "mine", "ks/b": Buffer.from("bytes") };
  const { get } = await start(t, { content });
  const answers = await Promise.all(
    ["/a.cfg", "/ks/b", "/in", "/sub/sp%C3%A4ce%20d", "/..odd"].map((name) => get(name)),
  );
  assert.deepEqual(
    answers.map(({ status, body, headers }) => [status, body, Number(headers["content-length"])]),
    [
      [200, "mine", 4],
      [200, "bytes", 5],
      [200, "0123456789", 10],
      [200, "deep", 4],
      [200, "odd", 3],
    ],
  );
});

test("an empty file is served, and HEAD sends no body", async (t) => {
  const { get } = await start(t, { content: { none: "" } });
  for (const name of ["/empty", "/none"]) {
    const { status, body, headers } = await get(name);
    assert.deepEqual([status, body, headers["content-length"]], [200, "", "0"]);
  }
  const head = await get("/a.cfg", {}, "HEAD");
  assert.deepEqual([head.status, head.body, head.headers["content-length"]], [200, "", "10"]);
});

const ranges: [range: string, status: number, body: string, contentRange: string | undefined][] = [
  ["bytes=0-3", 206, "0123", "bytes 0-3/10"],
  ["bytes=8-", 206, "89", "bytes 8-9/10"],
  ["bytes=-3", 206, "789", "bytes 7-9/10"],
  ["bytes=-30", 206, "0123456789", "bytes 0-9/10"],
  ["bytes=5-50", 206, "56789", "bytes 5-9/10"],
  ["bytes=10-", 416, "", "bytes */10"],
  ["bytes=-0", 416, "", "bytes */10"],
  ["bytes=5-3", 200, "0123456789", undefined],
  ["bytes=0-1,4-5", 200, "0123456789", undefined],
  ["lines=1-2", 200, "0123456789", undefined],
];

test("ranges are served from files and contents alike", async (t) => {
  const { get } = await start(t, { content: { c: "0123456789" } });
  for (const name of ["/a.cfg", "/c"])
    for (const [range, status, body, contentRange] of ranges) {
      const answer = await get(name, { range });
      assert.deepEqual(
        [answer.status, answer.body, answer.headers["content-range"]],
        [status, body, contentRange],
      );
    }
});

test("nothing outside of the folder is served, by no spelling and no link", async (t) => {
  const { get, folder } = await start(t);
  const names = [
    "/../secret",
    "/sub/../../secret",
    "/%2e%2e/secret",
    "/..%2fsecret",
    "/..%5csecret",
    "/out",
    "/up/secret",
    "/up",
    "/loop",
    "/a.cfg/x",
    "/a.cfg%00",
    "/%E0%A4%A",
    "/",
    "/sub",
    `/${folder}/secret`,
    `/${"x".repeat(5000)}`,
  ];
  for (const name of names) {
    const { status, body } = await get(name);
    assert.deepEqual([name, status, body], [name, 404, "not found\n"]);
  }
  assert.equal((await get("/a.cfg", {}, "POST")).status, 405);
});

test("each request is one line, without what may be a secret behind the path", async (t) => {
  const { get, lines } = await start(t);
  await get("/a.cfg?token=secret");
  await get("/nothing");
  while (lines.length < 2) await new Promise(setImmediate);
  assert.match(lines.join("\n"), /^GET \/a\.cfg: 200 .*\(127\.0\.0\.1\)\nGET \/nothing: 404 /);
  assert.doesNotMatch(lines.join("\n"), /secret/);
});

test("a port of the range is taken, each once; when none is left, the error says so", async (t) => {
  const { port: free } = await start(t);
  const range = { portMin: free, portMax: free + 2 };
  const taken: number[] = [];
  for (let error: unknown; error === undefined;)
    try {
      taken.push((await start(t, range)).port);
    } catch (failure) {
      error = failure;
      assert.match(String(failure), new RegExp(`no port from ${free} to ${free + 2} is free`));
    }
  assert.ok(!taken.includes(free) && new Set(taken).size === taken.length && taken.length <= 2);
});

test("closing cuts what a machine does not read", async (t) => {
  const folder = makeFolder(t);
  fs.writeFileSync(path.join(folder, "a"), "");
  fs.truncateSync(path.join(folder, "a"), 50_000_000);
  const lines: string[] = [];
  const server = await startHttpServer({ folder, log: (line) => lines.push(line) });
  const socket = connect(server.port, "127.0.0.1");
  t.after(() => socket.destroy());
  socket.write("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  await new Promise((resolve) => socket.once("readable", resolve));
  const ended = new Promise((resolve) => socket.once("close", resolve));
  await server.close();
  socket.resume();
  await ended;
  while (lines.length === 0) await new Promise(setImmediate);
  assert.match(lines.join(), /^GET \/a: 200, .*premature close/i);
});

test("an address that is not this machine's is named", async () => {
  await assert.rejects(
    startHttpServer({ bindAddress: "192.0.2.1", log: () => undefined }),
    /Serving files by HTTP on 192\.0\.2\.1:0: .*EADDRNOTAVAIL/,
  );
});
