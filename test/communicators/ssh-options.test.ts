import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import * as path from "node:path";
import { describe, test, type TestContext } from "node:test";
import { sshSchema } from "../../src/communicators/ssh-schema";
import { validate } from "../../src/core/schema";
import { createKeyPair } from "../../src/machines/keypair";
import { makeFolder } from "../support/context";
import { startFakeSshd } from "../support/fake-sshd";
import { connectTo, findFreePort, hasSshd, run, startSshd, type Sshd } from "../support/sshd";

async function start(test: TestContext, settings: string[] = []): Promise<Sshd> {
  const sshd = await startSshd(settings);
  test.after(() => sshd.stop());
  return sshd;
}

async function requireWorks(machine: Awaited<ReturnType<typeof connectTo>>): Promise<void> {
  assert.equal((await run(machine, "echo works")).output.toString(), "works\n");
}

test("options that cannot go together are refused, each by its name", () => {
  const reasons = (options: object): string[] =>
    validate(sshSchema, { sshUsername: "u", ...options }).map(({ path, reason }) => `${path}: ${reason}`);
  assert.deepEqual(reasons({}), []);
  assert.deepEqual(reasons({ sshBastionHost: "b", sshBastionPassword: "p", sshProxyHost: "x" }), [
    ": expected at most one of `sshBastionHost` and `sshProxyHost`",
  ]);
  assert.match(reasons({ sshBastionHost: "b" }).join(), /needs one of `sshBastionPassword`/);
  assert.match(reasons({ sshCertificateFile: "c" }).join(), /set `sshPrivateKeyFile`/);
  assert.match(reasons({ sshLocalTunnels: ["80:x"] }).join(), /expected a tunnel such as 8080:localhost:80/);
  assert.match(reasons({ sshHostKey: "nonsense" }).join(), /known_hosts/);
  assert.match(reasons({ sshUserName: "x" }).join(), /sshUserName: unknown option; did you mean/);
});

test("a password answers the prompts too; a key that is none, or is encrypted, is named", async (t) => {
  const folder = makeFolder(t);
  await requireWorks(await connectTo(t, await startFakeSshd(t), { sshPassword: "right" }));
  fs.writeFileSync(path.join(folder, "none"), "nothing");
  const broken = connectTo(t, { port: 1, username: "u" }, { sshPrivateKeyFile: path.join(folder, "none") });
  await assert.rejects(broken, /Reading the private key .*none: .*Is it a private key\?/);
  const missing = connectTo(t, { port: 1, username: "u" }, { sshPrivateKeyFile: path.join(folder, "no") });
  await assert.rejects(missing, /Reading .*no: ENOENT/);
});

test("times longer than a timer can be are as good as any", async (t) => {
  const warnings: Error[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  process.on("warning", note);
  t.after(() => process.off("warning", note));
  const options = { sshPassword: "right", sshKeepAliveInterval: "30d", sshReadWriteTimeout: "30d" };
  await requireWorks(await connectTo(t, await startFakeSshd(t), options));
  assert.deepEqual(warnings, []);
});

describe("ways to a real sshd", { skip: !hasSshd() }, () => {
  test("a key pair made for the build", async (t) => {
    const sshd = await start(t);
    const pair = await createKeyPair("kiln-test");
    fs.writeFileSync(path.join(sshd.folder, "authorized_keys"), `${pair.publicKey}\n`);
    await requireWorks(
      await connectTo(t, { port: sshd.port, username: sshd.username }, {}, { privateKey: pair.privateKey }),
    );
  });

  test("an agent, which the machine can use unless it may not", async (t) => {
    const sshd = await start(t);
    const socket = path.join(sshd.folder, "agent");
    const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: "ignore" });
    t.after(() => agent.kill());
    while (!fs.existsSync(socket)) await new Promise(setImmediate);
    const environment = { ...process.env, SSH_AUTH_SOCK: socket };
    execFileSync("ssh-add", ["-q", sshd.keyFile], { env: environment, stdio: "ignore" });
    const before = process.env["SSH_AUTH_SOCK"];
    process.env["SSH_AUTH_SOCK"] = socket;
    t.after(() =>
      before === undefined ? delete process.env["SSH_AUTH_SOCK"] : (process.env["SSH_AUTH_SOCK"] = before),
    );
    const withoutKey = { port: sshd.port, username: sshd.username };
    const machine = await connectTo(t, withoutKey, { sshAgentAuth: true });
    assert.match((await run(machine, "ssh-add -l")).output.toString(), /ED25519/);
    const other = await connectTo(t, withoutKey, { sshAgentAuth: true, sshDisableAgentForwarding: true });
    assert.equal((await run(other, 'echo "[$SSH_AUTH_SOCK]"')).output.toString(), "[]\n");
    const strict = await start(t, ["AllowAgentForwarding no"]);
    fs.copyFileSync(path.join(sshd.folder, "authorized_keys"), path.join(strict.folder, "authorized_keys"));
    await requireWorks(
      await connectTo(t, { port: strict.port, username: strict.username }, { sshAgentAuth: true }),
    );
    delete process.env["SSH_AUTH_SOCK"];
    await assert.rejects(connectTo(t, withoutKey, { sshAgentAuth: true }), /SSH_AUTH_SOCK is not set/);
  });

  test("a certificate", async (t) => {
    const folder = makeFolder(t);
    const keygen = (...args: string[]): void =>
      void execFileSync("ssh-keygen", ["-q", ...args], { cwd: folder });
    keygen("-t", "ed25519", "-N", "", "-f", "ca");
    const sshd = await start(t, [`TrustedUserCAKeys ${folder}/ca.pub`]);
    fs.writeFileSync(path.join(sshd.folder, "authorized_keys"), "");
    for (const type of ["ed25519", "ecdsa", "rsa"]) {
      keygen("-t", type, "-N", "", "-f", type);
      keygen("-s", "ca", "-I", "kiln", "-n", sshd.username, `${type}.pub`);
      const options = {
        sshPrivateKeyFile: path.join(folder, type),
        sshCertificateFile: path.join(folder, `${type}-cert.pub`),
      };
      await requireWorks(await connectTo(t, { port: sshd.port, username: sshd.username }, options));
    }
    const other = {
      sshPrivateKeyFile: path.join(folder, "rsa"),
      sshCertificateFile: path.join(folder, "ecdsa-cert.pub"),
    };
    await assert.rejects(
      connectTo(t, { port: sshd.port, username: sshd.username }, other),
      /ecdsa-cert\.pub.* is not that of the private key/,
    );
  });

  test("a bastion, with a key of its own, whose host key is checked too", async (t) => {
    const [bastion, sshd] = [await start(t), await start(t)];
    const options = {
      sshBastionHost: "127.0.0.1",
      sshBastionPort: bastion.port,
      sshBastionPrivateKeyFile: bastion.keyFile,
    };
    const machine = await connectTo(t, sshd, options);
    await requireWorks(machine);
    await machine.reconnect(new AbortController().signal);
    await requireWorks(machine);
    assert.match(bastion.log(), /direct-tcpip|Accepted publickey/);
    await machine.close();
    const wrong = connectTo(t, sshd, { ...options, sshBastionHostKey: sshd.hostKey });
    await assert.rejects(wrong, /Connecting to the bastion .*: its host key is .* but the given one is/);
  });

  test("a SOCKS5 proxy, with and without a password", async (t) => {
    const sshd = await start(t);
    for (const password of [undefined, "right"]) {
      const proxy = await startSocksProxy(t, password);
      const options = { sshProxyHost: "127.0.0.1", sshProxyPort: proxy.port };
      await requireWorks(
        await connectTo(
          t,
          sshd,
          password ? { ...options, sshProxyUsername: "me", sshProxyPassword: password } : options,
        ),
      );
      assert.equal(proxy.served(), 1);
    }
    const strict = await startSocksProxy(t, "right");
    const options = { sshProxyHost: "127.0.0.1", sshProxyPort: strict.port, sshTimeout: "500ms" };
    await assert.rejects(
      connectTo(t, sshd, { ...options, sshProxyUsername: "me", sshProxyPassword: "wrong" }),
      /Asking the proxy 127\.0\.0\.1:\d+ for 127\.0\.0\.1:\d+: it refuses the user name or the password/,
    );
  });

  test("tunnels in both directions, which are there again after a reconnect", async (t) => {
    const sshd = await start(t);
    const service = createServer((socket) => socket.end("hello")).listen(0, "127.0.0.1");
    await once(service, "listening");
    t.after(() => service.close());
    const target = (service.address() as AddressInfo).port;
    const [local, remote] = [await findFreePort(), await findFreePort()];
    const machine = await connectTo(t, sshd, {
      sshLocalTunnels: [`${local}:127.0.0.1:${target}`],
      sshRemoteTunnels: [`${remote}:127.0.0.1:${target}`],
    });
    for (const again of [false, true]) {
      if (again) await machine.reconnect(new AbortController().signal);
      assert.equal(await readAll(local), "hello");
      assert.equal(await readAll(remote), "hello");
    }
    await machine.close();
    await assert.rejects(readAll(local), /ECONNREFUSED/);
    await assert.rejects(
      connectTo(t, sshd, { sshRemoteTunnels: [`${sshd.port}:127.0.0.1:${target}`] }),
      /Opening the tunnel from the machine's port \d+/,
    );
  });

  test("ciphers and key exchanges as told; what nobody knows is said at once", async (t) => {
    const sshd = await start(t);
    const machine = await connectTo(t, sshd, {
      sshCiphers: ["aes256-ctr"],
      sshKeyExchangeAlgorithms: ["ecdh-sha2-nistp256"],
    });
    await requireWorks(machine);
    await assert.rejects(connectTo(t, sshd, { sshCiphers: ["rot13"] }), /Unsupported algorithm: rot13/);
    const strict = await start(t, ["Ciphers aes256-gcm@openssh.com"]);
    await assert.rejects(connectTo(t, strict, { sshCiphers: ["aes128-ctr"] }), /no matching .*cipher/);
  });

  test("a machine that is slow to come up is connected twice with `pauseBeforeConnecting`", async (t) => {
    const sshd = await start(t);
    await requireWorks(await connectTo(t, sshd, { pauseBeforeConnecting: "50ms" }));
    assert.equal(sshd.log().split("Accepted publickey").length - 1, 2);
  });
});

function readAll(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(port, "127.0.0.1");
    socket
      .on("data", (chunk) => (text += chunk.toString()))
      .on("end", () => resolve(text))
      .on("error", reject);
  });
}

async function startSocksProxy(
  test: TestContext,
  password?: string,
): Promise<{ port: number; served: () => number }> {
  let served = 0;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined));
    let stage = password === undefined ? "greeting" : "greeting-password";
    socket.on("data", (data: Buffer) => {
      if (stage.startsWith("greeting")) {
        socket.write(Buffer.from([5, password === undefined ? 0 : 2]));
        stage = password === undefined ? "request" : "password";
      } else if (stage === "password") {
        const given = data.subarray(3 + (data[1] ?? 0)).toString();
        socket.write(Buffer.from([1, given === password ? 0 : 1]));
        stage = "request";
      } else if (stage === "request") {
        const target = connect(data.readUInt16BE(data.length - 2), "127.0.0.1", () => {
          served++;
          socket.write(Buffer.from([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]));
          stage = "open";
          socket.pipe(target).pipe(socket);
        });
        sockets.add(target.on("error", () => undefined));
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  test.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (server.address() as AddressInfo).port, served: () => served };
}
