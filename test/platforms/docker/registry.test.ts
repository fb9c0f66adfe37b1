import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, test } from "node:test";
import { parseReference } from "../../../src/platforms/docker/reference";
import { deleteManifest, findManifest } from "../../../src/platforms/docker/registry";

const indexType = "application/vnd.oci.image.index.v1+json";
const manifestType = "application/vnd.oci.image.manifest.v1+json";
const digestOf = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`;

const [amd, arm] = [digestOf("amd"), digestOf("arm")];
const index = JSON.stringify({
  manifests: [
    { digest: amd, mediaType: manifestType, platform: { os: "linux", architecture: "amd64" } },
    { digest: arm, mediaType: manifestType, platform: { os: "linux", architecture: "arm64", variant: "v8" } },
    {
      digest: digestOf("sbom"),
      mediaType: manifestType,
      platform: { os: "unknown", architecture: "unknown" },
    },
  ],
});

describe("a registry", () => {
  let server: Server;
  let host: string;
  let requests: string[];
  let answer: (request: IncomingMessage, response: ServerResponse) => void;

  beforeEach(async () => {
    requests = [];
    server = createServer((request, response) => {
      requests.push(`${request.method} ${request.url}`);
      answer(request, response);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  const app = () => parseReference(`${host}/me/app:1`);
  const sendIndex = (response: ServerResponse, method?: string, withDigest = true) =>
    response
      .writeHead(200, {
        "Content-Type": `${indexType}; charset=utf-8`,
        ...(withDigest && { "Docker-Content-Digest": digestOf(index) }),
      })
      .end(method === "HEAD" ? undefined : index);

  test("a tag by one HEAD; a platform by opening the index", async () => {
    answer = (request, response) => sendIndex(response, request.method);
    assert.deepEqual(await findManifest(app()), { digest: digestOf(index), mediaType: indexType });
    assert.deepEqual(requests, ["HEAD /v2/me/app/manifests/1"]);
    assert.equal((await findManifest(app(), { platform: "linux/amd64" }))?.digest, amd);
    for (const platform of ["linux/arm64", "linux/arm64/v8", "linux/aarch64"]) {
      assert.equal((await findManifest(app(), { platform }))?.digest, arm);
    }
    await assert.rejects(findManifest(app(), { platform: "linux/arm/v7" }), {
      message: /nothing for linux\/arm\/v7, only for linux\/amd64, linux\/arm64\/v8\.$/,
    });
  });

  test("without the header, the digest is that of the bytes", async () => {
    answer = (request, response) => sendIndex(response, request.method, false);
    assert.equal((await findManifest(app()))?.digest, digestOf(index));
  });

  test("only the registry's own word means that there is none", async () => {
    for (const code of ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"]) {
      answer = (_request, response) => response.writeHead(404).end(JSON.stringify({ errors: [{ code }] }));
      assert.equal(await findManifest(app()), undefined);
    }
    for (const [status, body] of [
      [404, "<h1>not here</h1>"],
      [404, '{"errors":[{"code":"UNSUPPORTED"}]}'],
      [403, ""],
      [429, "slow down"],
      [500, "ill"],
    ] as const) {
      answer = (_request, response) => response.writeHead(status).end(body);
      await assert.rejects(findManifest(app()), (error: Error & { status?: number }) => {
        assert.equal(error.name, "RegistryError");
        assert.equal(error.status, status);
        assert.match(error.message, /^Looking up 127.*me\/app:1 in its registry: /);
        return true;
      });
    }
  });

  test("no answer, silence and an abort are told apart", async () => {
    answer = () => undefined;
    await assert.rejects(findManifest(app(), { timeoutMs: 20 }), /no answer in 0\.02 s/);
    const reason = new Error("stop");
    const controller = new AbortController();
    answer = () => controller.abort(reason);
    await assert.rejects(findManifest(app(), { signal: controller.signal }), reason);
    server.closeAllConnections();
    server.close();
    await assert.rejects(findManifest(app()), /cannot be reached: .*ECONNREFUSED/);
  });

  test("a token is fetched once, with the password or with the identity token", async () => {
    let asked = "";
    answer = (request, response) => {
      if (request.url?.startsWith("/token")) {
        request.on("data", (chunk: Buffer) => (asked += chunk.toString()));
        request.on("end", () => {
          asked += ` ${request.headers.authorization ?? ""}`;
          response.end('{"access_token":"t"}');
        });
      } else if (request.headers.authorization === "Bearer t") sendIndex(response, request.method);
      else {
        const challenge = `Bearer realm="http://${host}/token",service="r",scope="repository:me/app:pull,push"`;
        response.writeHead(401, { "WWW-Authenticate": challenge }).end();
      }
    };
    const serverAddress = host;
    const credentials = { serverAddress, username: "me", password: "s3cret" };
    await findManifest(app(), { credentials, platform: "linux/amd64" });
    assert.deepEqual(requests, [
      "HEAD /v2/me/app/manifests/1",
      "GET /token?service=r&scope=repository%3Ame%2Fapp%3Apull%2Cpush",
      "HEAD /v2/me/app/manifests/1",
      "GET /v2/me/app/manifests/1",
    ]);
    assert.equal(asked, ` Basic ${Buffer.from("me:s3cret").toString("base64")}`);
    asked = "";
    await findManifest(app(), { credentials: { serverAddress, identityToken: "id" } });
    assert.match(asked, /grant_type=refresh_token.*refresh_token=id.*service=r/);
  });

  test("credentials do not go to a token server without TLS", async () => {
    answer = (_request, response) =>
      response.writeHead(401, { "WWW-Authenticate": 'Bearer realm="http://elsewhere.example/token"' }).end();
    const credentials = { serverAddress: host, username: "me", password: "s3cret" };
    await assert.rejects(findManifest(app(), { credentials }), (error: Error) => {
      assert.match(error.message, /not encrypted/);
      assert.doesNotMatch(error.message, /s3cret/);
      return true;
    });
  });

  test("Basic, wrong credentials and none", async () => {
    answer = (request, response) => {
      if (request.headers.authorization === `Basic ${Buffer.from("me:right").toString("base64")}`) {
        sendIndex(response, request.method);
      } else response.writeHead(401, { "WWW-Authenticate": 'Basic realm="r"' }).end();
    };
    const withPassword = (password: string) => ({
      credentials: { serverAddress: host, username: "me", password },
    });
    assert.ok(await findManifest(app(), withPassword("right")));
    await assert.rejects(findManifest(app(), withPassword("wrong")), /refused the credentials/);
    await assert.rejects(findManifest(app()), /wants credentials.*docker login/);
  });

  test("deleting: done, gone already, not allowed, and never by tag", async () => {
    const reference = { ...app(), tag: undefined, digest: amd };
    const answerWith = (status: number) =>
      (answer = (_request, response) => response.writeHead(status).end());
    for (const status of [202, 404]) {
      answerWith(status);
      await deleteManifest(reference);
    }
    assert.equal(requests[0], `DELETE /v2/me/app/manifests/${amd}`);
    answerWith(405);
    await assert.rejects(deleteManifest(reference), /the registry does not allow deleting/);
    answerWith(500);
    await assert.rejects(deleteManifest(reference), /answered 500/);
    await assert.rejects(deleteManifest(app()), /a tag cannot be deleted/);
  });
});
