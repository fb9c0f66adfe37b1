import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { answer, sha256 } from "./bad-server";
import { CONTENT, HALF, OTHER, assertContent, makeWorld } from "./source-world";

test("a download goes on where it was cut, however often", async (t) => {
  const { fetch, server } = await makeWorld(t);
  const conditions: unknown[] = [];
  server.misbehave = (request, response, count) => {
    conditions.push(request.headers["if-range"]);
    if (count < 6) answer(server, request, response, { cutAfter: 50_000 - count });
    return count < 6;
  };
  assertContent(await fetch({ checksum: undefined }), CONTENT);
  const starts = [50_000, 99_999, 149_997, 199_994, 249_990, 299_985];
  assert.deepEqual(server.requests, ["GET /disk", ...starts.map((at) => `GET /disk bytes=${at}-`)]);
  assert.deepEqual(conditions, [undefined, ...starts.map(() => '"1"')]);
});

test("a server that ignores ranges sends the whole, and that is what counts", async (t) => {
  for (const checksum of [undefined, { algorithm: "sha256", digest: sha256(CONTENT) } as const]) {
    const { fetch, server } = await makeWorld(t);
    server.misbehave = (request, response, count) => {
      answer(server, request, response, { ignoreRange: true, cutAfter: count === 0 ? HALF : undefined });
      return true;
    };
    assertContent(await fetch({ checksum }), CONTENT);
    assert.equal(server.requests.length, 2);
  }
});

test("a version that changes in between is never mixed with the other", async (t) => {
  const { fetch, server } = await makeWorld(t, OTHER);
  server.misbehave = (request, response, count) => {
    if (count > 0) return false;
    answer(server, request, response, { cutAfter: HALF });
    server.content = CONTENT;
    server.etag = '"2"';
    return true;
  };
  assertContent(await fetch({ checksum: undefined }), CONTENT);
});

test("nor is it when the server ignores the condition", async (t) => {
  for (const checksum of [undefined, { algorithm: "sha256", digest: sha256(CONTENT) } as const]) {
    const { fetch, server } = await makeWorld(t, OTHER);
    server.misbehave = (request, response, count) => {
      if (count === 0) {
        answer(server, request, response, { cutAfter: HALF });
        server.content = CONTENT;
        server.etag = '"2"';
        return true;
      }
      delete request.headers["if-range"];
      return false;
    };
    assertContent(await fetch({ checksum }), CONTENT);
  }
});

test("without a version only a checksum lets it go on; if the parts do not fit, it begins anew", async (t) => {
  const { fetch, server } = await makeWorld(t, OTHER);
  server.etag = undefined;
  server.misbehave = (request, response, count) => {
    if (count > 0) return false;
    answer(server, request, response, { cutAfter: HALF });
    server.content = CONTENT;
    return true;
  };
  assertContent(await fetch(), CONTENT);
  assert.deepEqual(server.requests, ["GET /disk", `GET /disk bytes=${HALF}-`, "GET /disk"]);
  const second = await makeWorld(t);
  second.server.etag = undefined;
  second.server.misbehave = (request, response, count) => {
    if (count === 0) answer(second.server, request, response, { cutAfter: HALF });
    return count === 0;
  };
  assertContent(await second.fetch({ checksum: undefined }), CONTENT);
  assert.deepEqual(second.server.requests, ["GET /disk", "GET /disk"]);
});

test("a body shorter than promised, and without a length, is noticed", async (t) => {
  const { fetch, server } = await makeWorld(t);
  server.misbehave = (_, response, count) => {
    if (count > 1) return false;
    if (count === 0) response.writeHead(200, { "content-length": 300_000, etag: '"1"', connection: "close" });
    else
      response.writeHead(206, {
        "content-range": `bytes ${HALF}-299999/300000`,
        etag: '"1"',
        connection: "close",
      });
    response.write(CONTENT.subarray(HALF * count, HALF * (count + 1)), () => response.socket?.end());
    return true;
  };
  assertContent(await fetch(), CONTENT);
});

test("what is whole already is not asked for again", async (t) => {
  const { fetch, server, home } = await makeWorld(t);
  const name = path.join(home, "cache", "downloads", `sha256-${sha256(CONTENT)}.part`);
  fs.mkdirSync(path.dirname(name), { recursive: true });
  fs.writeFileSync(name, CONTENT);
  fs.writeFileSync(`${name}.json`, JSON.stringify({ etag: '"1"' }));
  assertContent(await fetch(), CONTENT);
  fs.rmSync(name.replace(".part", ""));
  fs.writeFileSync(name, Buffer.concat([CONTENT, OTHER]));
  fs.writeFileSync(`${name}.json`, JSON.stringify({ etag: '"1"' }));
  assertContent(await fetch(), CONTENT);
  assert.deepEqual(server.requests, ["GET /disk bytes=300000-", "GET /disk bytes=550000-", "GET /disk"]);
});

test("a draft longer than the file is no part of it", async (t) => {
  const { fetch, server, home } = await makeWorld(t);
  const key = createHash("sha256").update(server.url).digest("hex");
  const draft = path.join(home, "cache", "downloads", `url-${key}.part`);
  fs.mkdirSync(path.dirname(draft), { recursive: true });
  fs.writeFileSync(draft, Buffer.concat([CONTENT, OTHER]));
  fs.writeFileSync(`${draft}.json`, JSON.stringify({ etag: '"1"' }));
  assertContent(await fetch({ checksum: undefined }), CONTENT);
});

test("redirects are followed, relative ones too, but not for ever", async (t) => {
  const { fetch, server } = await makeWorld(t);
  server.misbehave = (request, response) => {
    const steps = Number(/^\/disk(\d+)$/.exec(request.url ?? "")?.[1] ?? 0);
    if (steps === 0) return false;
    const next = steps === 1 ? "disk" : steps === 99 ? "disk99" : `/disk${steps - 1}`;
    response.writeHead([301, 302, 303, 307, 308][steps % 5] ?? 302, { location: next }).end();
    return true;
  };
  assertContent(await fetch({ source: `${server.url}9` }), CONTENT);
  await assert.rejects(
    fetch({ source: `${server.url}99`, checksum: undefined }),
    /leads from one URL to another more than 10 times/,
  );
  assert.equal(server.requests.length, 10 + 11);
});

test("a redirect to something else than HTTP is refused", async (t) => {
  const { fetch, server } = await makeWorld(t);
  server.misbehave = (_, response) => (
    response.writeHead(302, { location: "file:///etc/passwd" }).end(),
    true
  );
  await assert.rejects(fetch(), /leads to file:\/\/\/etc\/passwd, which is no HTTP URL/);
});

test("a file that is not there is not asked for twice, and the URL's secrets are not shown", async (t) => {
  const { fetch, server } = await makeWorld(t);
  for (const [status, advice] of [
    [404, /answered 404 Not Found\. Is the URL right\?/],
    [403, /answered 403 Forbidden\. Does the URL need a user and password/],
  ] as const) {
    server.requests = [];
    server.misbehave = (_, response) => (response.writeHead(status).end(), true);
    const source = `${server.url.replace("//", "//me:secret@")}?sig=secret`;
    const error = await fetch({ source }).then(String, String);
    assert.match(error, advice);
    assert.match(error, /Fetching http:\/\/\[hidden\]@127\.0\.0\.1:\d+\/disk\?\[hidden\]:/);
    assert.doesNotMatch(error, /secret/);
    assert.equal(server.requests.length, 1);
  }
});

test("user and password of the URL are sent", async (t) => {
  const { fetch, server } = await makeWorld(t);
  server.misbehave = (request, response) => {
    const isKnown = request.headers.authorization === `Basic ${Buffer.from("me:sec ret").toString("base64")}`;
    if (!isKnown) response.writeHead(401).end();
    return !isKnown;
  };
  assertContent(await fetch({ source: server.url.replace("//", "//me:sec%20ret@") }), CONTENT);
});

test("faults of the server pass, up to five in a row", async (t) => {
  const { fetch, server } = await makeWorld(t);
  server.misbehave = (_, response, count) => {
    if (count < 4) response.writeHead(503).end();
    return count < 4;
  };
  assertContent(await fetch(), CONTENT);
  const second = await makeWorld(t);
  second.server.misbehave = (_, response) => (response.destroy(), true);
  await assert.rejects(second.fetch(), /Fetching http:.*socket hang up/);
  assert.equal(second.server.requests.length, 5);
});

test("a server that falls silent is left, and the download goes on", async (t) => {
  const { fetch, server } = await makeWorld(t);
  server.misbehave = (_, response, count) => {
    if (count === 0) {
      response.writeHead(200, { "content-length": 300_000, etag: '"1"' });
      response.write(CONTENT.subarray(0, HALF));
    }
    return count === 0;
  };
  assertContent(await fetch({ idleMs: 50 }), CONTENT);
  assert.deepEqual(server.requests, ["GET /disk", `GET /disk bytes=${HALF}-`]);
});
