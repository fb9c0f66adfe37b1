import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { findEndpoint, type EndpointOptions } from "../../../src/platforms/docker/endpoint";
import { makeSshArguments } from "../../../src/platforms/docker/ssh-agent";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "kiln-home-"));
});
afterEach(() => rmSync(home, { recursive: true }));

function write(path: string, text: string): void {
  const file = join(home, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

function writeContext(name: string, docker: unknown, files: { [name: string]: string } = {}): void {
  const id = createHash("sha256").update(name).digest("hex");
  write(`.docker/contexts/meta/${id}/meta.json`, JSON.stringify({ Name: name, Endpoints: { docker } }));
  for (const [file, text] of Object.entries(files)) write(`.docker/contexts/tls/${id}/docker/${file}`, text);
}

const find = (options: EndpointOptions = {}) =>
  findEndpoint({ env: {}, home, platform: "linux", exists: () => false, ...options });

describe("addresses", () => {
  for (const [host, transport] of [
    ["unix:///run/docker.sock", { kind: "socket", path: "/run/docker.sock" }],
    ["unix://", { kind: "socket", path: "/var/run/docker.sock" }],
    ["npipe:////./pipe/docker_engine", { kind: "socket", path: "//./pipe/docker_engine" }],
    ["tcp://10.0.0.4", { kind: "tcp", host: "10.0.0.4", port: 2375, pathPrefix: "" }],
    ["tcp://[::1]:2375/", { kind: "tcp", host: "::1", port: 2375, pathPrefix: "" }],
    ["tcp://:4243", { kind: "tcp", host: "localhost", port: 4243, pathPrefix: "" }],
    ["build:2375", { kind: "tcp", host: "build", port: 2375, pathPrefix: "" }],
    ["http://build/docker/", { kind: "tcp", host: "build", port: 80, pathPrefix: "/docker" }],
    ["https://build", { kind: "tcp", host: "build", port: 443, pathPrefix: "", tls: {} }],
    ["ssh://build", { kind: "ssh", host: "build" }],
    [
      "ssh://me@build:2222/run/d.sock",
      { kind: "ssh", host: "build", port: 2222, user: "me", socketPath: "/run/d.sock" },
    ],
  ] as const) {
    test(host, () => {
      const endpoint = find({ host });
      assert.deepEqual(endpoint.transport, transport);
      assert.equal(endpoint.source, "option `host`");
      assert.equal(endpoint.address, host.includes("://") ? host : `tcp://${host}`);
    });
  }

  for (const [host, reason] of [
    ["fd://3", /the scheme "fd" is not known/],
    ["/run/docker.sock", /Write unix:\/\/\/run\/docker\.sock/],
    ["tcp://me@build", /takes no user name/],
    ["tcp://build:99999", /no valid address/],
    ["ssh://-oProxyCommand=x/y", /must not begin with a dash|no valid address/],
    ["ssh://-l@build", /must not begin with a dash/],
    ["ssh://", /names no host|no valid address/],
  ] as const) {
    test(`${host} is refused`, () => {
      assert.throws(
        () => find({ env: { DOCKER_HOST: host } }),
        (error: Error) => {
          assert.match(error.message, reason);
          assert.match(error.message, /\(DOCKER_HOST\)/);
          return true;
        },
      );
    });
  }

  test("a password is refused, and not printed", () => {
    for (const host of ["ssh://me:s3cret@build", "tcp://me:s3cret@build:x", "me:s3cret@build"]) {
      assert.throws(
        () => find({ host }),
        (error: Error) => {
          assert.doesNotMatch(error.message, /s3cret/);
          return true;
        },
      );
    }
  });
});

describe("order", () => {
  test("option, DOCKER_HOST, DOCKER_CONTEXT, current context, default", () => {
    writeContext("near", { Host: "tcp://near:1" });
    writeContext("far", { Host: "tcp://far:1" });
    write(".docker/config.json", JSON.stringify({ currentContext: "far" }));
    const env = { DOCKER_HOST: "tcp://env:1", DOCKER_CONTEXT: "near" };
    const found = (options: EndpointOptions) => {
      const { address, source, explicit } = find(options);
      return [address, source, explicit];
    };
    assert.deepEqual(found({ host: "tcp://option:1", env }), ["tcp://option:1", "option `host`", true]);
    assert.deepEqual(found({ env }), ["tcp://env:1", "DOCKER_HOST", true]);
    assert.deepEqual(found({ env: { DOCKER_CONTEXT: "near" } }), ["tcp://near:1", "DOCKER_CONTEXT", true]);
    assert.deepEqual(found({ env: { DOCKER_HOST: "" } }), [
      "tcp://far:1",
      "`currentContext` of Docker's config.json",
      true,
    ]);
    const usual = ["unix:///var/run/docker.sock", "Docker's default", false];
    assert.deepEqual(found({ env: { DOCKER_CONTEXT: "default" } }), usual);
    rmSync(join(home, ".docker"), { recursive: true });
    assert.deepEqual(found({}), usual);
  });

  test("DOCKER_CONFIG moves the settings", () => {
    write("elsewhere/config.json", JSON.stringify({ currentContext: "gone" }));
    assert.throws(
      () => find({ env: { DOCKER_CONFIG: join(home, "elsewhere") } }),
      /context "gone".*currentContext/s,
    );
  });

  test("the usual sockets, in their order, if they are there", () => {
    const desktop = join(home, ".docker/run/docker.sock");
    const all = [
      "/var/run/docker.sock",
      desktop,
      "/run/user/1/docker.sock",
      "/run/user/1/podman/podman.sock",
      "/run/podman/podman.sock",
    ];
    for (let gone = 0; gone < all.length; gone++) {
      const there = new Set(all.slice(gone));
      const { address } = find({
        env: { XDG_RUNTIME_DIR: "/run/user/1" },
        exists: (path) => there.has(path),
      });
      assert.equal(address, `unix://${all[gone]}`);
    }
    assert.equal(find({ platform: "win32" }).address, "npipe:////./pipe/docker_engine");
  });

  test("settings that are no JSON are named, not quoted", () => {
    write(".docker/config.json", '{"auths":{"x":{"auth":"c2VjcmV0');
    assert.throws(
      () => find(),
      (error: Error) => {
        assert.match(error.message, /config\.json: it is not valid JSON/);
        assert.doesNotMatch(`${error.message}${String(error.cause)}`, /c2VjcmV0/);
        return true;
      },
    );
  });
});

describe("TLS", () => {
  const pem = { "ca.pem": "CA", "cert.pem": "CERT", "key.pem": "KEY" };
  const tlsOf = (options: EndpointOptions) => {
    const { transport } = find(options);
    assert.equal(transport.kind, "tcp");
    return transport.kind === "tcp" ? { port: transport.port, tls: transport.tls } : undefined;
  };

  test("from a context", () => {
    writeContext("safe", { Host: "tcp://far" }, pem);
    const { port, tls } = tlsOf({ env: { DOCKER_CONTEXT: "safe" } }) ?? {};
    assert.equal(port, 2376);
    assert.deepEqual([tls?.ca, tls?.cert, tls?.key].map(String), ["CA", "CERT", "KEY"]);
    assert.equal(tls?.skipVerify, false);
  });

  test("from the environment, for addresses that can carry it", () => {
    for (const [name, text] of Object.entries(pem)) write(`certs/${name}`, text);
    const env = { DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: join(home, "certs") };
    assert.equal(String(tlsOf({ env: { ...env, DOCKER_HOST: "tcp://far:9" } })?.tls?.ca), "CA");
    assert.equal(tlsOf({ env, host: "http://far:9" })?.tls, undefined);
    assert.equal(
      find({ env: { DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: "/nowhere" } }).transport.kind,
      "socket",
    );
  });

  test("a folder without the files, and a certificate without its key, are errors", () => {
    const env = { DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: join(home, "certs"), DOCKER_HOST: "tcp://far" };
    assert.throws(() => find({ env }), /DOCKER_CERT_PATH is .*certs/);
    write("certs/cert.pem", "CERT");
    assert.throws(() => find({ env }), /key\.pem is missing/);
  });
});

test("ssh is asked for Docker's own stream, without a terminal", () => {
  const target = { kind: "ssh", host: "build", port: 22, user: "me", socketPath: "/run/it's.sock" } as const;
  assert.equal(
    makeSshArguments(target).join(" "),
    "-T -o BatchMode=yes -o ConnectTimeout=30 -p 22 -l me -- build docker --host 'unix:///run/it'\\''s.sock' system dial-stdio",
  );
});
