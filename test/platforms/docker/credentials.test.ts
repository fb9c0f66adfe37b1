import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import {
  encodeRegistryAuth,
  findCredentials,
  type CredentialSources,
} from "../../../src/platforms/docker/credentials";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "kiln-home-"));
  mkdirSync(join(home, ".docker"));
});
afterEach(() => rmSync(home, { recursive: true }));

const hubKey = "https://index.docker.io/v1/";
const basic = (text: string) => ({ auth: Buffer.from(text).toString("base64") });

function writeConfig(config: unknown): void {
  writeFileSync(join(home, ".docker", "config.json"), JSON.stringify(config));
}

function writeHelper(name: string, script: string): void {
  const path = join(home, `docker-credential-${name}`);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

const find = (registry: string, sources: CredentialSources = {}) =>
  findCredentials(registry, { home, env: { PATH: home + delimiter + process.env.PATH }, ...sources });

describe("what docker login stored", () => {
  test("nothing at all is no error", async () => {
    rmSync(join(home, ".docker"), { recursive: true });
    assert.equal(await find("ghcr.io"), undefined);
    mkdirSync(join(home, ".docker"));
  });

  test("by host, by address, and Docker Hub by each of its names", async () => {
    writeConfig({
      auths: {
        "ghcr.io": basic("me:a:b"),
        "https://reg.example:5000/v2/": basic("you:c"),
        [hubKey]: basic("hub:d"),
        "empty.io": {},
      },
    });
    assert.deepEqual(await find("ghcr.io"), { serverAddress: "ghcr.io", username: "me", password: "a:b" });
    assert.equal((await find("reg.example:5000"))?.password, "c");
    for (const name of ["docker.io", "index.docker.io", hubKey]) {
      assert.deepEqual(await find(name), { serverAddress: hubKey, username: "hub", password: "d" });
    }
    assert.equal(await find("empty.io"), undefined);
    assert.equal(await find("reg.example"), undefined);
  });

  test("an identity token stands for the password", async () => {
    writeConfig({ auths: { "a.io": { ...basic("me:"), identitytoken: "tok" } } });
    assert.deepEqual(await find("a.io"), { serverAddress: "a.io", username: "me", identityToken: "tok" });
  });

  test("a broken entry is named, not quoted", async () => {
    writeConfig({ auths: { "a.io": { auth: Buffer.from("s3cret").toString("base64") } } });
    await assert.rejects(find("a.io"), (error: Error) => {
      assert.match(error.message, /credentials of a\.io .*docker login/s);
      assert.doesNotMatch(error.message, /s3cret|czNjcmV0/);
      return true;
    });
  });

  test("the resource's own entry wins; without a server it is Docker Hub's", async () => {
    writeConfig({ auths: { "a.io": basic("file:x"), [hubKey]: basic("file:x") } });
    const explicit = [
      { server: "https://a.io", username: "own", password: "y" },
      { username: "hub", password: "z" },
    ];
    assert.equal((await find("a.io", { explicit }))?.username, "own");
    assert.equal((await find("docker.io", { explicit }))?.username, "hub");
    assert.equal(await find("b.io", { explicit }), undefined);
  });
});

describe("helpers", { skip: process.platform === "win32" && "the fake helpers are shell scripts" }, () => {
  test("the registry's own helper goes before the one for all; both before the file", async () => {
    writeHelper(
      "one",
      `read -r server || true; echo "{\\"Username\\":\\"one\\",\\"Secret\\":\\"$server $1\\"}"`,
    );
    writeHelper("all", `cat > /dev/null; echo '{"Username":"<token>","Secret":"tok"}'`);
    writeConfig({
      credHelpers: { "a.io": "one", "docker.io": "one" },
      credsStore: "all",
      auths: { "a.io": basic("file:x") },
    });
    assert.deepEqual(await find("a.io"), { serverAddress: "a.io", username: "one", password: "a.io get" });
    assert.equal((await find("docker.io"))?.password, `${hubKey} get`);
    assert.deepEqual(await find("b.io"), { serverAddress: "b.io", identityToken: "tok" });
  });

  test("not found is an answer", async () => {
    writeHelper("all", "echo 'credentials not found in native keychain'; exit 1");
    writeConfig({ credsStore: "all" });
    assert.equal(await find("a.io"), undefined);
  });

  test("a failure names the helper and never prints its stdout", async () => {
    writeHelper("all", "echo s3cret; echo 'the keychain is locked' >&2; exit 3");
    writeConfig({ credsStore: "all" });
    await assert.rejects(find("a.io"), (error: Error) => {
      assert.match(
        error.message,
        /^Asking docker-credential-all for the credentials of a\.io: it ended with 3: the keychain is locked/,
      );
      assert.doesNotMatch(error.message, /s3cret/);
      return true;
    });
    writeHelper("all", 'echo \'{"Secret":"s3cret\'');
    await assert.rejects(find("a.io"), (error: Error) => {
      assert.match(error.message, /docker-credential-all.*not valid JSON/);
      assert.doesNotMatch(`${error.message}${String(error.cause)}`, /s3cret/);
      return true;
    });
  });

  test("one that is missing, or is no name, says so", async () => {
    writeConfig({ credsStore: "nowhere" });
    await assert.rejects(find("a.io"), /docker-credential-nowhere.*not on the PATH/);
    writeConfig({ credsStore: "../../bin/sh" });
    await assert.rejects(find("a.io"), /no valid name/);
  });

  test("an abort ends it", async () => {
    const reason = new Error("stop");
    writeHelper("all", "exec sleep 1000");
    writeConfig({ credsStore: "all" });
    const controller = new AbortController();
    const found = find("a.io", { signal: controller.signal });
    controller.abort(reason);
    await assert.rejects(found, reason);
  });
});

test("the header is padded base64url, as engines insist", () => {
  const text = encodeRegistryAuth({ serverAddress: "a.io", username: "me", password: "???>>>~~" });
  assert.equal(text.length % 4, 0);
  assert.doesNotMatch(text, /[+/]/);
  assert.deepEqual(JSON.parse(Buffer.from(text, "base64url").toString()), {
    username: "me",
    password: "???>>>~~",
    serveraddress: "a.io",
  });
});
