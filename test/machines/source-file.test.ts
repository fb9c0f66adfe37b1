import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { CancelledError } from "../../src/core/errors";
import { sha256 } from "./bad-server";
import { CONTENT, HALF, MD5, OTHER, assertContent, downloads, makeWorld } from "./source-world";

test("a file is downloaded once, verified, and nothing else is left", async (t) => {
  const { fetch, server, home, progress } = await makeWorld(t);
  assertContent(await fetch(), CONTENT);
  assertContent(await fetch(), CONTENT);
  assert.deepEqual(server.requests, ["GET /disk"]);
  assert.equal(progress.at(-1), "300000/300000");
  const name = `sha256-${sha256(CONTENT)}`;
  assert.deepEqual(downloads(home), [name, `${name}.json`]);
});

test("a file that a machine damaged is downloaded anew", async (t) => {
  const { fetch, server } = await makeWorld(t);
  const { path: file } = await fetch();
  fs.writeFileSync(file, "damaged");
  assertContent(await fetch(), CONTENT);
  assert.equal(server.requests.length, 2);
});

test("other hashes verify too, and the SHA-256 is found all the same", async (t) => {
  const { fetch } = await makeWorld(t);
  assertContent(await fetch({ checksum: MD5 }), CONTENT);
  assertContent(await fetch({ checksum: MD5 }), CONTENT);
});

test("a wrong checksum says both digests and leaves nothing", async (t) => {
  const { fetch, home } = await makeWorld(t);
  const digest = "0".repeat(64);
  await assert.rejects(
    fetch({ checksum: { algorithm: "sha256", digest } }),
    new RegExp(`its sha256 is ${sha256(CONTENT)} \\(300000 bytes\\), expected ${digest}\\.`),
  );
  assert.deepEqual(downloads(home), []);
});

test("without a checksum the server is asked whether it has another", async (t) => {
  for (const version of [
    { etag: '"1"', lastModified: undefined },
    { etag: undefined, lastModified: "Mon, 01 Jan 2024 00:00:00 GMT" },
  ]) {
    const { fetch, server } = await makeWorld(t);
    Object.assign(server, version);
    assertContent(await fetch({ checksum: undefined }), CONTENT);
    const served: number[] = [];
    server.misbehave = (_, response) => (
      response.on("finish", () => served.push(response.statusCode)),
      false
    );
    assertContent(await fetch({ checksum: undefined }), CONTENT);
    server.content = OTHER;
    if (version.etag) server.etag = '"2"';
    else server.lastModified = "Tue, 02 Jan 2024 00:00:00 GMT";
    assertContent(await fetch({ checksum: undefined }), OTHER);
    assert.deepEqual(served, [304, 200]);
  }
});

test("without a checksum and without a version it is downloaded each time", async (t) => {
  const { fetch, server } = await makeWorld(t);
  server.etag = undefined;
  await fetch({ checksum: undefined });
  server.content = OTHER;
  assertContent(await fetch({ checksum: undefined }), OTHER);
});

test("a full disk is named, and the next run goes on from there", async (t) => {
  const { fetch, server, home } = await makeWorld(t);
  const handle = await fs.promises.open(path.join(home, "x"), "w");
  const prototype = Object.getPrototypeOf(handle) as { write: (...args: unknown[]) => Promise<unknown> };
  await handle.close();
  const real = prototype.write;
  let room = 2;
  const mock = t.mock.method(prototype, "write", function (this: unknown, ...args: unknown[]) {
    if (room-- <= 0)
      throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    return real.apply(this, args);
  });
  await assert.rejects(
    fetch(),
    new RegExp(
      `to ${home}/cache/downloads/sha256-.*\\.part: the disk is full after \\d+ bytes\\. Make room there`,
    ),
  );
  mock.mock.restore();
  assertContent(await fetch(), CONTENT);
  assert.match(server.requests.join(), /^GET \/disk,GET \/disk bytes=\d+-$/);
});

test("a cancel ends it at once, and the next run goes on from there", async (t) => {
  const { fetch, server } = await makeWorld(t);
  const controller = new AbortController();
  server.misbehave = (_, response) => {
    response.writeHead(200, { "content-length": 300_000, etag: '"1"' });
    response.write(CONTENT.subarray(0, HALF));
    return true;
  };
  const onProgress = (done: number): void => {
    if (done === HALF) controller.abort();
  };
  await assert.rejects(fetch({ signal: controller.signal, onProgress }), CancelledError);
  server.misbehave = undefined;
  assertContent(await fetch(), CONTENT);
  assert.deepEqual(server.requests, ["GET /disk", `GET /disk bytes=${HALF}-`]);
});

test("builds in parallel download once", async (t) => {
  const { fetch, server } = await makeWorld(t);
  const files = await Promise.all(Array.from({ length: 5 }, () => fetch()));
  for (const file of files) assertContent(file, CONTENT);
  assert.deepEqual(server.requests, ["GET /disk"]);
});

test("what a killed process began another one ends", async (t) => {
  const { fetch, server, home } = await makeWorld(t);
  server.misbehave = (_, response, count) => {
    if (count > 0) return false;
    response.writeHead(200, { "content-length": 300_000, etag: '"1"' });
    response.write(CONTENT.subarray(0, HALF));
    return true;
  };
  const args = [server.url, sha256(CONTENT), String(HALF)];
  const child = fork(path.join(__dirname, "downloader.js"), args, {
    env: { ...process.env, PULUMI_KILN_HOME: home },
  });
  await once(child, "message");
  const waiting = fetch();
  child.kill("SIGKILL");
  assertContent(await waiting, CONTENT);
  assert.deepEqual(server.requests, ["GET /disk", `GET /disk bytes=${HALF}-`]);
});

test("a local file is used in its place, by path and by URL", async (t) => {
  const { fetch, home } = await makeWorld(t);
  const file = path.join(home, "my disk");
  fs.writeFileSync(file, CONTENT);
  for (const source of ["my disk", "./my disk", file, pathToFileURL(file).href]) {
    const found = await fetch({ source });
    assert.equal(found.path, file);
    assertContent(found, CONTENT);
  }
  assert.deepEqual(downloads(home), []);
  await assert.rejects(
    fetch({ source: "my disk", checksum: { algorithm: "md5", digest: "0".repeat(32) } }),
    new RegExp(`Using ${file}: its md5 is ${MD5.digest}, expected 0{32}`),
  );
  await assert.rejects(fetch({ source: "nothing" }), /Using .*nothing: it does not exist/);
  await assert.rejects(fetch({ source: "." }), /it is not a file/);
});

test("a local file is read once, and again when it changed", async (t) => {
  const { fetch, home, progress } = await makeWorld(t);
  const file = path.join(home, "disk");
  const write = (content: Buffer): void => {
    fs.writeFileSync(file, content);
    fs.utimesSync(file, 1000, 1000);
  };
  write(CONTENT);
  // Its change time cannot be set back, so what this process takes for now is moved ahead.
  const realNow = Date.now;
  t.mock.method(Date, "now", () => realNow() + 60_000);
  assertContent(await fetch({ source: "disk", checksum: undefined }), CONTENT);
  assert.equal(progress.at(-1), "300000/300000");
  progress.length = 0;
  assertContent(await fetch({ source: "disk", checksum: undefined }), CONTENT);
  assert.deepEqual(progress, []);
  assertContent(await fetch({ source: "disk", checksum: MD5 }), CONTENT);
  assert.notDeepEqual(progress, []);
  const same = Buffer.from(CONTENT);
  same[7] = (same[7] ?? 0) ^ 1;
  write(same);
  assertContent(await fetch({ source: "disk", checksum: undefined }), same);
});

test("a file that has just been written is not believed to stay", async (t) => {
  const { fetch, home, progress } = await makeWorld(t);
  fs.writeFileSync(path.join(home, "disk"), CONTENT);
  for (let run = 0; run < 2; run++) {
    progress.length = 0;
    await fetch({ source: "disk" });
    assert.notDeepEqual(progress, []);
  }
});
