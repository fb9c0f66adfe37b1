import assert from "node:assert/strict";
import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { diff } from "../../src/provider";
import type { State } from "../../src/provider/state";
import { FakeEngine } from "../platforms/docker/fake-engine";
import { mustCheck } from "../support/check";
import { makeFolder } from "../support/context";

/** An engine without images, that tells whoever asks. */
async function startEngine(t: TestContext): Promise<FakeEngine> {
  const engine = await FakeEngine.start();
  t.after(() => engine.stop());
  engine.answer = (request, response) => {
    const isList = request.url?.includes("/images/json") ?? false;
    response.writeHead(isList ? 200 : 404, { "content-type": "application/json" });
    response.end(isList ? "[]" : '{"message":"no such image"}');
  };
  process.env["DOCKER_HOST"] = `unix://${engine.socketPath}`;
  return engine;
}

/** A registry without images, each of whose repositories is open to the user of its name alone. */
async function startRegistry(t: TestContext): Promise<string> {
  const server = http.createServer((request, response) => {
    const name = /^\/v2\/(\w+)\//.exec(request.url ?? "")?.[1] ?? "";
    const wanted = `Basic ${Buffer.from(`${name}:password-of-${name}`).toString("base64")}`;
    if (request.headers.authorization !== wanted)
      return void response.writeHead(401, { "www-authenticate": 'Basic realm="test"' }).end();
    response.writeHead(404, { "content-type": "application/json" });
    response.end(request.method === "HEAD" ? undefined : '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}');
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("each image asks its registry with its own credentials, and all ask the engine once", async (t) => {
  process.chdir(makeFolder(t));
  process.env["DOCKER_CONFIG"] = process.cwd();
  const engine = await startEngine(t);
  const registry = await startRegistry(t);
  for (const name of ["a", "b", "c"]) {
    const declare = (tag: string): Record<string, unknown> => ({
      image: "busybox",
      registryAuth: [{ server: registry, username: name, password: `password-of-${name}` }],
      postProcessors: [
        { type: "docker-tag", repository: `${registry}/${name}`, tags: [tag] },
        { type: "docker-push" },
      ],
    });
    const inputs = await mustCheck(declare("1"));
    const artifact = { kind: "docker-image", id: `sha256:${"1".repeat(64)}`, data: {} };
    const pinnedReferences = [`${registry}/${name}@sha256:${"2".repeat(64)}`];
    const records = [{ made: [], artifact: { ...artifact, data: { pinnedReferences } } }];
    const built = { artifact, records, engineId: "another", endpoint: "unix:///another" };
    const state = { ...inputs, __kiln: { ...inputs.__kiln, built } } as unknown as State;
    // To give it another name there must be an image, and it is neither here nor in the registry.
    const answer = await diff("1", state, await mustCheck(declare("2"), inputs));
    assert.deepEqual(answer, { changes: true, replaces: ["fingerprint"] }, name);
  }
  const shared = engine.requests.filter((request) => !/\/images\/sha256:/.test(request));
  assert.deepEqual(
    shared.map((request) => request.replace(/\?.*/, "")),
    ["HEAD /_ping", "GET /v1.41/images/json"],
  );
});
