import assert from "node:assert/strict";
import { test } from "node:test";
import { ValidationError } from "../../src/core/errors";
import { UNKNOWN } from "../../src/core/schema";
import { checkSwitch } from "../../src/rollout/switch/check";
import {
  hashHealth,
  hashSettings,
  readRunning,
  readSaved,
  renderConfiguration,
  type ConfigurationSettings,
} from "../../src/rollout/switch/haproxy-config";
import { readTraffic } from "../../src/rollout/switch/haproxy-answers";
import { parseTable, parseWorkers, splitAnswers } from "../../src/rollout/switch/runtime-api";
import { parseRuntimeApi } from "../../src/rollout/switch/runtime-transport";
import { formatServerName, hashVersion, readVersion } from "../../src/rollout/switch/server-name";
import type { SwitchInputs } from "../../src/rollout/switch/state";

const settings: ConfigurationSettings = {
  map: "/kiln/live.map",
  key: "live",
  backends: ["blue", "green"],
  owner: "0a1b2c3d/1",
  checks: { intervalMs: 1000, passes: 3 },
  certificates: [],
  path: "/healthz",
};

test("answers are told apart, and one that broke off is none", () => {
  assert.deepEqual(splitAnswers("New server registered.\n\n\n\n"), ["New server registered.", "", ""]);
  assert.deepEqual(splitAnswers("1\n# a b\n1 2\n\n"), ["1\n# a b\n1 2"]);
  assert.deepEqual(splitAnswers("Server deleted.\n"), ["Server deleted."]);
  assert.deepEqual(splitAnswers("1\n# a b\n1 2\n"), []);
  assert.deepEqual(parseTable("1\n# a b\n1 2\n3 4", " "), [{ a: "1", b: "2" }, { a: "3", b: "4" }]); // prettier-ignore
});

test("a check that is running has no answer: its code is not that of the one before", () => {
  const row = { be_name: "green", srv_name: "one" };
  const count = { pxname: "green", svname: "one", status: "DOWN", last_chk: "" };
  const read = (check_status: string, check_code: string): string =>
    readTraffic(row, [{ ...count, check_status, check_code }], new Map()).answer;
  assert.equal(read("L7STS", "503"), "DOWN L7STS 503");
  assert.equal(read("* L7STS", "0"), "");
});

test("the workers of a master process are the one that serves and those that leave", () => {
  const answer = `#<PID>          <type>          <reloads>       <uptime>        <version>
19924           master          1 [failed: 2]   0d00h01m15s     2.6.12
# workers
21912           worker          0               0d00h00m00s     2.6.12
# old workers
19969           worker          1               0d00h01m14s     2.6.12
# programs`;
  assert.deepEqual(parseWorkers(answer), {
    current: "@1 ",
    id: "21912",
    leaving: ["@!19969 "],
    failedReloads: 2,
  });
});

test("addresses of the runtime API", () => {
  assert.deepEqual(parseRuntimeApi("unix:///run/a.sock"), { path: "/run/a.sock" });
  assert.deepEqual(parseRuntimeApi("tcp://[::1]:99"), { host: "::1", port: 99 });
  assert.deepEqual(parseRuntimeApi("docker://web-proxy:9901"), { container: "web-proxy", port: 9901 });
  for (const wrong of ["unix://relative", "tcp://host", "http://a:1", ""])
    assert.equal(parseRuntimeApi(wrong), undefined);
});

test("a server's name says whose it is and which version, and changes with its place", () => {
  const server = { name: "1", address: "10.0.0.1", port: 80 };
  const name = formatServerName("0a1b2c3d", hashVersion("1.0"), server, "");
  assert.equal(readVersion("0a1b2c3d", name), hashVersion("1.0"));
  assert.equal(readVersion("ffffffff", name), undefined);
  assert.equal(readVersion("0a1b2c3d", "web1"), undefined);
  assert.notEqual(formatServerName("0a1b2c3d", hashVersion("1.0"), { ...server, port: 81 }, ""), name);
  // These stand in running proxies.
  assert.equal(name, "k0a1b2c3d.d0ff5974.1.621b72");
});

test("the configuration tells what was saved, and a colour keeps its own health", () => {
  const server = { name: "k0a1b2c3d.v.1.abc", address: "10.0.0.1", port: 80 };
  const old = hashHealth({ ...settings, path: "/old" });
  const first = {
    owner: "0a1b2c3d/1",
    live: "blue",
    settings: "s",
    health: { blue: old, green: old },
    servers: { blue: [server] },
  };
  const before = renderConfiguration({ ...settings, path: "/old" }, first)["haproxy.cfg"] ?? "";
  assert.deepEqual(readSaved(before), first);
  const health = { blue: old, green: hashHealth(settings) };
  const files = renderConfiguration(settings, { ...first, settings: hashSettings(settings), health }, before);
  const text = files["haproxy.cfg"] ?? "";
  assert.match(
    text,
    /backend blue[^]*uri \/old [^]*server k0a1b2c3d.v.1.abc 10.0.0.1:80 check inter 1000ms [^]*backend green[^]*uri \/healthz /,
  );
  assert.equal(files["live.map"], "live blue\nlive.kiln-owner 0a1b2c3d/1\n");
  const description = /description (.*)/.exec(text)?.[1] ?? "";
  assert.deepEqual(readRunning(description, ["blue", "green"]), { settings: hashSettings(settings), health });
  assert.equal(readSaved("global\n"), undefined);
});

test("certificates make the proxy speak TLS; the user's lines go on with the frontend", () => {
  const saved = { owner: "o", live: "blue", settings: "", health: {}, servers: {} };
  const files = renderConfiguration(
    { ...settings, certificates: ["PEM"], extraConfig: "  http-request deny" },
    saved,
  );
  assert.equal(files["certs/0.pem"], "PEM");
  assert.match(
    files["haproxy.cfg"] ?? "",
    /bind :8080 ssl crt certs\/ alpn h2,http\/1.1\n[^]*use_backend [^\n]*\n {2}http-request deny\n$/,
  );
});

test("all problems of a switch are told at once, each with its place, and a certificate is not quoted", () => {
  const inputs = {
    proxy: { runtimeApi: "http://x", map: "a b", key: "k", backends: ["one", "one"] },
    servers: [
      { name: "1", address: "web.example", port: 80 },
      { name: "1", address: "10.0.0.1", port: 0 },
    ],
    version: "",
    certificates: [{ secret: 1 }],
    heath: {},
    __kiln: { type: "rollout:HaproxySwitch", stateVersion: 1, urn: "urn:a", from: "." },
  } as unknown as SwitchInputs;
  assert.throws(
    () => checkSwitch(inputs),
    (error) => {
      assert.ok(error instanceof ValidationError);
      const paths = error.problems.map((problem) => problem.path).sort();
      assert.deepEqual(paths, [
        "certificates", "certificates[0]", "heath", "proxy.backends", "proxy.map", "proxy.runtimeApi", "servers",
        "servers[0].address", "servers[1].port", "version",
      ]); // prettier-ignore
      return true;
    },
  );
});

test("times that HAProxy refuses are refused before it is asked, and no others", () => {
  const refuse = (interval: string, tunnel: string): string[] => {
    const inputs = {
      proxy: { runtimeApi: "docker://proxy:9901", map: "m", key: "k", backends: ["blue", "green"] },
      servers: [{ name: "one", address: "198.18.0.3", port: 80 }],
      version: "1",
      health: { interval },
      configuration: { timeouts: { tunnel } },
      __kiln: { urn: "u" },
    } as unknown as SwitchInputs;
    try {
      checkSwitch(inputs);
    } catch (error) {
      if (error instanceof ValidationError) return error.problems.map(({ path, reason }) => `${path}: ${reason}`); // prettier-ignore
      throw error;
    }
    return [];
  };
  assert.deepEqual(refuse("1ms", "0s"), []);
  assert.deepEqual(refuse("2147483647ms", "2147483647ms"), []);
  assert.deepEqual(refuse("0s", "30d"), [
    'health.interval: expected at least 1ms, HAProxy refuses less, got "0s"',
    'configuration.timeouts.tunnel: expected at most 2147483647ms (24.8 days), HAProxy refuses more, got "30d"',
  ]);
  assert.deepEqual(refuse("2147483648ms", "1 h"), [
    'health.interval: expected at most 2147483647ms (24.8 days), HAProxy refuses more, got "2147483648ms"',
    'configuration.timeouts.tunnel: expected a duration such as "30m" or "1h30m", got "1 h"',
  ]);
});

test("what is not known yet is no problem, and whether it is a preview is not kept", () => {
  const inputs = {
    proxy: { runtimeApi: UNKNOWN, map: "/m", key: "k", backends: ["one", "two"] },
    servers: UNKNOWN,
    version: UNKNOWN,
    configuration: { path: "/" },
    __kiln: { type: "rollout:HaproxySwitch", stateVersion: 1, urn: "urn:b", from: ".", dryRun: true },
  } as unknown as SwitchInputs;
  assert.equal("dryRun" in checkSwitch(inputs).__kiln, false);
});
