import assert from "node:assert/strict";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { before, test, type TestContext } from "node:test";
import { UNKNOWN } from "../../src/core/schema";
import { mustCheck } from "../support/check";
import { makeFolder } from "../support/context";

const DIGEST = `sha256:${"a".repeat(64)}`;

before(() => {
  // No engine: what is tested here must not need one.
  process.env["DOCKER_HOST"] = "unix:///nonexistent/docker.sock";
});

/** A registry of this machine, and how often it was asked. */
async function startRegistry(
  t: TestContext,
  answer: http.RequestListener,
): Promise<{ host: string; count: () => number }> {
  let count = 0;
  const server = http.createServer((request, response) => {
    count++;
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, count: () => count };
}

test("the source is followed though something else is unknown, and kept if what it depends on is", async (t) => {
  process.chdir(makeFolder(t));
  const { host } = await startRegistry(t, (_request, response) => {
    response.writeHead(200, {
      "docker-content-digest": DIGEST,
      "content-type": "application/vnd.oci.image.manifest.v1+json",
    });
    response.end();
  });
  const options = { image: `${host}/app:1`, pull: "always" };
  const olds = await mustCheck(options);
  assert.equal(olds.baseDigest, DIGEST);
  const unknownTag = {
    ...options,
    postProcessors: [{ type: "docker-tag", repository: "a", tags: [UNKNOWN] }],
  };
  for (const inputs of [await mustCheck(unknownTag), await mustCheck(unknownTag, olds)]) {
    assert.equal(inputs.baseDigest, DIGEST);
    assert.equal(inputs.fingerprint, olds.fingerprint);
  }
  for (const name of ["registryAuth", "pull"]) {
    const inputs = await mustCheck({ ...options, [name]: UNKNOWN }, olds);
    assert.equal(inputs.fingerprint, olds.fingerprint, name);
  }
  for (const name of ["image", "platform"])
    assert.equal((await mustCheck({ ...options, [name]: UNKNOWN }, olds)).baseDigest, DIGEST, name);
  assert.equal(
    (await mustCheck({ ...options, pull: "missing", registryAuth: UNKNOWN }, olds)).baseDigest,
    undefined,
  );
});

test("a registry that does not answer is asked once, one that refuses each time", async (t) => {
  process.chdir(makeFolder(t));
  const silent = await startRegistry(t, (request) => request.socket.destroy());
  const askSilent = (name: string): Promise<unknown> =>
    mustCheck({ image: `${silent.host}/${name}`, pull: "always" }, { baseDigest: DIGEST });
  await askSilent("a");
  const first = silent.count();
  assert.ok(first > 0);
  assert.equal(((await askSilent("b")) as { baseDigest?: string }).baseDigest, DIGEST);
  assert.equal(silent.count(), first);

  const refusing = await startRegistry(t, (_request, response) => response.writeHead(500).end());
  await mustCheck({ image: `${refusing.host}/a`, pull: "always" });
  const before = refusing.count();
  await mustCheck({ image: `${refusing.host}/b`, pull: "always" });
  assert.ok(refusing.count() > before);
});
