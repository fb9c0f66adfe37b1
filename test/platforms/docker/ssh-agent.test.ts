import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import type { Endpoint } from "../../../src/platforms/docker/endpoint";
import { connectEngine } from "../../../src/platforms/docker/engine";
import { FakeEngine, makeFrame } from "./fake-engine";

const skip = process.platform === "win32" && "the fake ssh is a script";
const endpoint: Endpoint = {
  address: "ssh://me@build",
  explicit: true,
  source: "option `host`",
  transport: { kind: "ssh", host: "build", user: "me" },
};

let fake: FakeEngine;
let folder: string;
const path = process.env.PATH;
beforeEach(async () => {
  fake = await FakeEngine.start();
  folder = mkdtempSync(join(tmpdir(), "kiln-ssh-"));
  process.env.PATH = folder + delimiter + path;
});
afterEach(async () => {
  process.env.PATH = path;
  await fake.stop();
  rmSync(folder, { recursive: true });
});

function writeSsh(body: string): void {
  writeFileSync(join(folder, "ssh"), `#!${process.execPath}\n${body}`);
  chmodSync(join(folder, "ssh"), 0o755);
}

/** What `docker system dial-stdio` does at the other end. */
const dial = (socketPath: string) => `
  const socket = require("net").connect({ path: ${JSON.stringify(socketPath)}, allowHalfOpen: true });
  process.stdin.pipe(socket);
  socket.pipe(process.stdout);
  socket.on("end", () => process.exit(0));`;

test("requests share one ssh, and a process gets its input and its end", { skip }, async () => {
  writeSsh(dial(fake.socketPath));
  fake.answer = (_request, response) => response.writeHead(200).end("x");
  fake.onUpgrade = (socket) => {
    let bytes = 0;
    socket.on("data", (chunk: Buffer) => (bytes += chunk.length));
    socket.on("end", () => socket.end(makeFrame(1, `${bytes} bytes`)));
  };
  const engine = await connectEngine(endpoint);
  for (let i = 0; i < 5; i++) await engine.request({ method: "GET", path: "/x" });
  assert.equal(fake.connections, 1);
  let output = "";
  const { Readable } = await import("node:stream");
  await engine.attach({
    path: "/exec/1/start",
    stdin: Readable.from([Buffer.alloc(300_000)]),
    onStdout: (chunk) => void (output += chunk.toString()),
    onStderr: () => undefined,
  });
  assert.equal(output, "300000 bytes");
  engine.close();
});

test("what ssh says on its end is the reason", { skip }, async () => {
  writeSsh(`process.stderr.write("me@build: Permission denied (publickey).\\n"); process.exitCode = 255;`);
  await assert.rejects(
    connectEngine(endpoint),
    /ssh:\/\/me@build \(option `host`\).*ended with code 255: .*Permission denied/,
  );
});

test("a machine without ssh is told to install it", { skip }, async () => {
  process.env.PATH = folder;
  await assert.rejects(connectEngine(endpoint), /`ssh` was not found\. Install OpenSSH/);
});
