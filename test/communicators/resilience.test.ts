import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { once } from "node:events";
import { createServer } from "node:net";
import * as path from "node:path";
import { describe, test, type TestContext } from "node:test";
import { connectSsh, type SshCommunicator } from "../../src/communicators/ssh";
import { fingerprintKey } from "../../src/communicators/ssh-host-key";
import { ConnectionLostError } from "../../src/core/errors";
import { makeFolder } from "../support/context";
import { makeHostKey, startFakeSshd, type FakeSshd } from "../support/fake-sshd";
import { startRelay, type Relay, type RelayOptions } from "../support/relay";
import { connectTo, findFreePort, hasSshd, never, run, startSshd, type Sshd } from "../support/sshd";
import { describeTree, makeLargeFile } from "./random-tree";

const MEGABYTE = 1024 * 1024;

async function begin(
  test: TestContext,
  options: RelayOptions,
): Promise<{ sshd: Sshd; relay: Relay; here: string; there: string }> {
  const sshd = await startSshd();
  const relay = await startRelay(sshd.port, options);
  test.after(async () => (relay.stop(), sshd.stop()));
  const folder = makeFolder(test);
  fs.mkdirSync(`${folder}/here`);
  return { sshd: { ...sshd, port: relay.port }, relay, here: `${folder}/here`, there: `${folder}/there` };
}

/** A machine with a tar of its own. */
async function beginWithTar(
  test: TestContext,
  script: (bin: string) => string[],
  options: RelayOptions = {},
): Promise<{ machine: SshCommunicator; relay: Relay; bin: string; here: string; there: string }> {
  const folder = makeFolder(test);
  const [bin, here] = [`${folder}/bin`, `${folder}/here`];
  for (const made of [bin, here]) fs.mkdirSync(made);
  fs.writeFileSync(`${bin}/tar`, ["#!/bin/sh", ...script(bin), ""].join("\n"), { mode: 0o755 });
  const sshd = await startSshd([`SetEnv PATH=${bin}:${process.env["PATH"]}`]);
  const relay = await startRelay(sshd.port, options);
  test.after(async () => (relay.stop(), sshd.stop()));
  const machine = await connectTo(test, { ...sshd, port: relay.port });
  return { machine, relay, bin, here, there: `${folder}/there` };
}

function makeMany(folder: string): void {
  for (let index = 0; index < 400; index++) fs.writeFileSync(`${folder}/${index}`, `${index} `.repeat(2000));
}

function listLeft(folder: string): string {
  return execFileSync("find", [folder, "-name", ".kiln-*"], { encoding: "utf8" });
}

describe("a link that breaks", { skip: !hasSshd() }, () => {
  test("in the middle of the handshake, twice: the third try gets through", async (t) => {
    const { sshd, relay } = await begin(t, { cutAfterBytes: (n) => [30, 900][n] });
    const machine = await connectTo(t, sshd);
    assert.equal((await run(machine, "echo on")).output.toString(), "on\n");
    assert.equal(relay.connections, 3);
  });

  test("at half of a file: what has arrived is not sent again, and the whole is verified", async (t) => {
    const { sshd, relay, here, there } = await begin(t, {
      cutAfterBytes: (n) => (n === 0 ? 30 * MEGABYTE : undefined),
    });
    const large = makeLargeFile(here, "large", 60);
    const machine = await connectTo(t, sshd);
    await machine.upload({ path: large }, `${there}/large`, never);
    assert.ok(fs.readFileSync(`${there}/large`).equals(fs.readFileSync(large)));
    assert.equal(relay.connections, 2);
    assert.ok(relay.bytesToServer < 72 * MEGABYTE, `${relay.bytesToServer} bytes were sent`);
    assert.equal(listLeft(there), "");
  });

  test("in the middle of a folder, at ten places: it arrives equal each time", async (t) => {
    const { sshd, here, there } = await begin(t, {});
    makeMany(here);
    const expected = describeTree(here);
    for (let place = 0; place < 10; place++) {
      const relay = await startRelay(sshd.port, {
        cutAfterBytes: (n) => (n === 0 ? 5000 + place * 300_000 : undefined),
      });
      t.after(() => relay.stop());
      const machine = await connectTo(t, { ...sshd, port: relay.port });
      await machine.upload({ path: `${here}/` }, `${there}/${place}/`, never);
      assert.deepEqual(describeTree(`${there}/${place}`), expected);
      assert.equal(relay.connections, 2);
    }
    assert.equal(listLeft(there), "");
  });

  test("in the middle of a new folder: what has arrived is not sent again, whatever lies beside the folder", async (t) => {
    const { sshd, relay, here, there } = await begin(t, {
      cutAfterBytes: (n) => (n === 0 ? 6 * MEGABYTE : undefined),
    });
    for (let index = 0; index < 400; index++) fs.writeFileSync(`${here}/${index}`, randomBytes(20 * 1024));
    for (const twin of [7, 97, 98, 99])
      fs.copyFileSync(`${here}/${twin}`, path.join(path.dirname(there), String(twin)));
    const machine = await connectTo(t, sshd);
    await machine.upload({ path: `${here}/` }, `${there}/`, never);
    assert.deepEqual(describeTree(there), describeTree(here));
    assert.equal(relay.connections, 2);
    assert.ok(relay.bytesToServer < 12 * MEGABYTE, `${relay.bytesToServer} bytes were sent`);
  });

  test("while the machine still works on what it got: the next try begins when it has ended", async (t) => {
    const { machine, relay, bin, here, there } = await beginWithTar(t, (bin) => [
      `echo begin >>${bin}/log`,
      `/bin/tar "$@" || exit`,
      `[ -e ${bin}/cut ] || { : >${bin}/cut; sleep 1; }`,
      `echo end >>${bin}/log`,
    ]);
    makeMany(here);
    const sending = machine.upload({ path: `${here}/` }, `${there}/`, never);
    const watch = setInterval(() => {
      if (!fs.existsSync(`${bin}/cut`)) return;
      clearInterval(watch);
      relay.cut();
    }, 10);
    await sending.finally(() => clearInterval(watch));
    const log = fs.readFileSync(`${bin}/log`, "utf8");
    assert.deepEqual(log.split("\n"), ["begin", "end", "begin", "end", ""]);
    assert.equal(relay.connections, 2);
    assert.deepEqual(describeTree(there), describeTree(here));
    assert.equal(listLeft(path.dirname(there)), "");
  });

  test("and what is left of the try still writes when the next has sent all: what it spoils is seen", async (t) => {
    const { machine, bin, here, there } = await beginWithTar(
      t,
      (bin) => [
        `if mkdir ${bin}/once 2>/dev/null; then`,
        `  /bin/tar "$@" 2>/dev/null`,
        `  until [ -e ${bin}/sent ]; do sleep 0.1; [ -d ${bin} ] || exit; done`,
        `  for file in .kiln-*/new/40; do printf X >"$file"; done`,
        `  exit 1`,
        `fi`,
        `/bin/tar "$@" || exit`,
        `[ -e ${bin}/sent ] || { sleep 1; : >${bin}/sent; sleep 1; }`,
      ],
      { cutAfterBytes: (n) => (n === 0 ? 20 * MEGABYTE : undefined) },
    );
    for (let index = 10; index < 50; index++) makeLargeFile(here, String(index), 1);
    await machine.upload({ path: `${here}/` }, `${there}/`, never);
    assert.ok(fs.existsSync(`${bin}/sent`));
    assert.deepEqual(describeTree(there), describeTree(here));
  });

  test("during a download: it is repeated, and nothing half is left", async (t) => {
    const sshd = await startSshd();
    t.after(() => sshd.stop());
    const folder = makeFolder(t);
    const large = makeLargeFile(folder, "large", 20);
    const relay = await startRelay(sshd.port);
    t.after(() => relay.stop());
    let cuts = 0;
    const machine = await connectTo(
      t,
      { ...sshd, port: relay.port },
      {},
      { progress: () => cuts++ === 0 && relay.cut() },
    );
    fs.mkdirSync(`${folder}/to`);
    await machine.download(large, `${folder}/to/large`, { folder: false, signal: never });
    assert.ok(fs.readFileSync(`${folder}/to/large`).equals(fs.readFileSync(large)));
    assert.deepEqual(fs.readdirSync(`${folder}/to`), ["large"]);
  });

  test("again and again: the error says so, and the destination is as before", async (t) => {
    const { sshd, here, there } = await begin(t, { cutAfterBytes: () => 3 * MEGABYTE });
    fs.mkdirSync(there);
    fs.writeFileSync(`${there}/large`, "before");
    const large = makeLargeFile(here, "large", 60);
    const machine = await connectTo(t, sshd);
    await assert.rejects(machine.upload({ path: large }, `${there}/large`, never), ConnectionLostError);
    assert.equal(fs.readFileSync(`${there}/large`, "utf8"), "before");
  });

  test("a slow link: what compresses is compressed, and arrives", async (t) => {
    const { sshd, here, there } = await begin(t, { bytesPerSecond: 8 * MEGABYTE });
    fs.writeFileSync(`${here}/text`, "the same line again\n".repeat(3 * MEGABYTE));
    const machine = await connectTo(t, sshd);
    const startedAt = Date.now();
    await machine.upload({ path: `${here}/text` }, `${there}/text`, never);
    assert.ok(fs.readFileSync(`${there}/text`).equals(fs.readFileSync(`${here}/text`)));
    assert.ok(Date.now() - startedAt < 6000, "60 MB at 8 MB/s take 7.5 s uncompressed");
    assert.equal(listLeft(there), "");
  });
});

describe("a server that misbehaves", () => {
  const login = { sshPassword: "right" };

  test("shows another host key than the given one: the error names both, and it is not tried again", async (t) => {
    const { hostKey: known } = await connectTo(t, await startFakeSshd(t), login);
    const other = await startFakeSshd(t);
    const pinned = connectTo(t, other, { ...login, sshHostKey: known });
    await assert.rejects(pinned, /its host key is ssh-ed25519 SHA256:\S+, but the given one is SHA256:\S+/);
    assert.equal(other.logins, 0);
  });

  test("another machine takes its place while the connection is away", async (t) => {
    const servers = [await startFakeSshd(t), await startFakeSshd(t)] as [FakeSshd, FakeSshd];
    let current = 0;
    const machine = await connectSsh(
      { sshUsername: "tester", ...login },
      {
        findAddress: () => Promise.resolve({ host: "127.0.0.1", port: (servers[current] as FakeSshd).port }),
        cwd: "/",
        signal: never,
        log: { progress: () => undefined, info: () => undefined },
      },
    );
    t.after(() => machine.close());
    current = 1;
    await assert.rejects(
      machine.reconnect(never),
      /its host key is .*, but at the first connection it was SHA256:/,
    );
    assert.equal(servers[1].logins, 0);
  });

  test("a given host key that fits, in each of its forms", async (t) => {
    const hostKey = await makeHostKey();
    const sshd = await startFakeSshd(t, { hostKey });
    const { hostKey: line } = await connectTo(t, sshd, login);
    const fingerprint = fingerprintKey(Buffer.from(line.split(" ")[1] ?? "", "base64"));
    for (const given of [line, `[127.0.0.1]:${sshd.port} ${line} a comment`, fingerprint])
      await connectTo(t, sshd, { ...login, sshHostKey: given });
  });

  test("refuses commands and SFTP: the error names both", async (t) => {
    const sshd = await startFakeSshd(t, { onExec: () => "refuse" });
    const machine = await connectTo(t, sshd, login);
    await assert.rejects(run(machine, "true"), /Unable to exec/);
    await assert.rejects(
      machine.upload({ content: Buffer.from("x"), mode: 0o644 }, "/tmp/never", never),
      /no shell, and no SFTP/,
    );
  });

  test("hangs in the middle of the handshake, then the time is over: the error says what was tried", async (t) => {
    const server = createServer((socket) => socket.on("error", () => undefined)).listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const { port } = server.address() as { port: number };
    await assert.rejects(
      connectTo(t, { port, username: "tester" }, { sshPassword: "x", sshTimeout: "400ms" }),
      /Waiting for SSH on 127\.0\.0\.1:\d+ as tester: not in \d+ms and 1 try\. The last one: no try came to an end/,
    );
    const closed = await findFreePort();
    await assert.rejects(
      connectTo(t, { port: closed, username: "tester" }, { sshPassword: "x", sshTimeout: "600ms" }),
      /not in \d+ms and \d tries\. The last one: connect ECONNREFUSED/,
    );
  });

  test("refuses the password: so often as it may, and the error holds no password", async (t) => {
    const sshd = await startFakeSshd(t);
    const refused = connectTo(t, sshd, {
      sshPassword: "wrong-one",
      sshHandshakeAttempts: 2,
      sshTimeout: undefined,
    });
    await assert.rejects(refused, (error: Error) => {
      assert.match(
        error.message,
        /refused 2 times\. The last time: Authenticating at .* as tester: it took none of a password/,
      );
      assert.ok(!error.message.includes("wrong-one"));
      return true;
    });
  });

  test("has no tar, and SFTP is refused: what to install is said", async (t) => {
    const folder = makeFolder(t);
    for (const name of ["sh", "cat", "mkdir", "rm"]) fs.symlinkSync(`/bin/${name}`, path.join(folder, name));
    const sshd = await startFakeSshd(t, { environment: { PATH: folder } });
    const machine = await connectTo(t, sshd, login);
    await assert.rejects(
      machine.upload({ content: Buffer.from("x"), mode: 0o644 }, `${folder}/x`, never),
      /it has no tar, and no SFTP: .*Install tar there/,
    );
  });

  test("answers something else, or breaks what arrived: it is sent again, or refused, never accepted", async (t) => {
    const folder = makeFolder(t);
    const file = makeLargeFile(folder, "large", 2);
    for (const [times, succeeds] of [
      [1, true],
      [5, false],
    ] as const) {
      // A tar of its own, that changes a byte of what it unpacked.
      const bin = fs.mkdtempSync(path.join(folder, "bin-"));
      const counter = path.join(bin, "runs");
      fs.writeFileSync(
        path.join(bin, "tar"),
        `#!/bin/sh\n/bin/tar "$@" || exit\necho x >>${counter}\n[ $(wc -l <${counter}) -gt ${times} ] || for file in .kiln-*/new/file; do printf X | dd of=$file conv=notrunc bs=1 seek=1000 2>/dev/null; done\n`,
        { mode: 0o755 },
      );
      const sshd = await startFakeSshd(t, { environment: { PATH: `${bin}:${process.env["PATH"]}` } });
      const machine = await connectTo(t, sshd, login);
      const target = path.join(folder, `to-${times}`, "file");
      const sending = machine.upload({ path: file }, target, never);
      if (succeeds) {
        await sending;
        assert.ok(fs.readFileSync(target).equals(fs.readFileSync(file)));
      } else {
        await assert.rejects(sending, /what arrived is not what was sent/);
        assert.deepEqual(fs.readdirSync(path.dirname(target)), []);
      }
    }
  });

  test("breaks one of many files, in whichever half of the list: never accepted, and whole at the next try", async (t) => {
    const folder = makeFolder(t);
    const source = path.join(folder, "many");
    fs.mkdirSync(source);
    for (let index = 100; index < 300; index++)
      fs.writeFileSync(path.join(source, `${index}`), `file ${index}`);
    for (const [name, lacksOpenssl] of [
      ["103", false],
      ["297", false],
      ["297", true],
    ] as const) {
      const bin = fs.mkdtempSync(path.join(folder, "bin-"));
      if (lacksOpenssl) linkAllBut(["openssl"], bin);
      fs.rmSync(path.join(bin, "tar"), { force: true });
      fs.writeFileSync(
        path.join(bin, "tar"),
        `#!/bin/sh\n/bin/tar "$@" || exit\n[ -e ${bin}/once ] || for file in .kiln-*/new/${name}; do printf X >$file; done\n: >${bin}/once\n`,
        { mode: 0o755 },
      );
      const search = lacksOpenssl ? bin : `${bin}:${process.env["PATH"]}`;
      const sshd = await startFakeSshd(t, { environment: { PATH: search } });
      const machine = await connectTo(t, sshd, login);
      const target = path.join(folder, path.basename(bin).replace("bin", "to"));
      await machine.upload({ path: `${source}/` }, `${target}/`, never);
      assert.ok(fs.existsSync(path.join(bin, "once")));
      assert.deepEqual(describeTree(target), describeTree(source));
    }
  });

  test("breaks one byte of much: what arrived is verified while the rest arrives, and whole at the next try", async (t) => {
    const folder = makeFolder(t);
    const source = path.join(folder, "much");
    fs.mkdirSync(source);
    makeLargeFile(source, "it's\\large", 40);
    for (let index = 10; index < 30; index++) makeLargeFile(source, `${index} *`, 1);
    for (const [byte, programs] of [
      [7, ["openssl", "sha256sum"]],
      [30, ["openssl", "sha256sum"]],
      [59, ["openssl", "sha256sum"]],
      [7, ["sha256sum"]],
      [59, ["sha256sum"]],
    ] as const) {
      const bin = fs.mkdtempSync(path.join(folder, "bin-"));
      linkAllBut(["tar", "openssl", "sha256sum"], bin);
      // Told to, it breaks what it gets; else it does not end before something that arrived was hashed.
      const tar = `#!/bin/sh
if rm ${bin}/break 2>/dev/null; then { head -c ${byte}M; head -c 1 >/dev/null; printf X; cat; } | /bin/tar "$@"; exit; fi
[ -e ${bin}/hashed ] && exec /bin/tar "$@"
/bin/tar "$@" || exit
waits=0
until [ -e ${bin}/hashed ]; do sleep 0.1; waits=$((waits + 1)); [ $waits -lt 100 ] || exit 9; done
`;
      fs.writeFileSync(path.join(bin, "tar"), tar, { mode: 0o755 });
      for (const program of programs) {
        const hasher = `#!/bin/sh\n: >${bin}/hashed\nexec /usr/bin/${program} "$@"\n`;
        fs.writeFileSync(path.join(bin, program), hasher, { mode: 0o755 });
      }
      const sshd = await startFakeSshd(t, { environment: { PATH: bin } });
      const machine = await connectTo(t, sshd, login);
      for (const target of [`${bin}-whole`, `${bin}-broken`]) {
        if (target.endsWith("broken")) fs.writeFileSync(`${bin}/break`, "");
        await machine.upload({ path: `${source}/` }, `${target}/`, never);
        assert.deepEqual(describeTree(target), describeTree(source));
        fs.rmSync(target, { recursive: true });
      }
      assert.ok(!fs.existsSync(`${bin}/break`));
    }
  });

  test("takes two names for one: nothing is put in place, however early the first was verified", async (t) => {
    const folder = makeFolder(t);
    const [bin, source] = [path.join(folder, "bin"), path.join(folder, "source")];
    for (const made of [bin, source]) fs.mkdirSync(made);
    for (const name of ["DATA", "data"]) makeLargeFile(source, name, 20);
    const tar = `#!/bin/sh\n/bin/tar "$@" || exit\nsleep 1\nfor file in .kiln-*/new/DATA; do rm -f "$file"; done\n`;
    fs.writeFileSync(path.join(bin, "tar"), tar, { mode: 0o755 });
    const sshd = await startFakeSshd(t, { environment: { PATH: `${bin}:${process.env["PATH"]}` } });
    const machine = await connectTo(t, sshd, login);
    const sending = machine.upload({ path: `${source}/` }, `${folder}/there/`, never);
    await assert.rejects(sending, /what arrived is not what was sent/);
    assert.ok(!fs.existsSync(`${folder}/there`));
  });

  test("hashes with another program, or wrongly with one: what is there is known, what arrives is right", async (t) => {
    const folder = makeFolder(t);
    const source = path.join(folder, "many");
    fs.mkdirSync(source);
    for (let index = 0; index < 150; index++)
      fs.writeFileSync(path.join(source, `${index}  *`), `file ${index}`.padEnd(2000));
    for (const name of ["-n", "new\nline", "back\\slash", "it's"])
      fs.writeFileSync(path.join(source, name), name);
    const sha256 = `read line <<E\n$(/usr/bin/sha256sum)\nE\necho "\${line%% *}"`;
    for (const [missing, program, script] of [
      [["openssl"], "openssl", `for name; do echo "${"0".repeat(64)} *$name"; done`],
      [["openssl", "sha256sum"], "shasum", `shift 2\nexec /usr/bin/sha256sum "$@"`],
      [["openssl", "sha256sum", "shasum"], "sha256", sha256],
    ] as const) {
      const bin = fs.mkdtempSync(path.join(folder, "bin-"));
      linkAllBut([...missing, program], bin);
      fs.writeFileSync(path.join(bin, program), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      const sshd = await startFakeSshd(t, { environment: { PATH: bin } });
      const machine = await connectTo(t, sshd, login);
      const target = path.join(folder, path.basename(bin).replace("bin", "to"));
      await machine.upload({ path: `${source}/` }, `${target}/`, never);
      assert.deepEqual(describeTree(target), describeTree(source));
      const inode = fs.statSync(path.join(target, "7  *")).ino;
      fs.writeFileSync(path.join(source, "8  *"), `by ${program}`.padEnd(2000));
      await machine.upload({ path: `${source}/` }, `${target}/`, never);
      assert.deepEqual(describeTree(target), describeTree(source));
      assert.equal(fs.statSync(path.join(target, "7  *")).ino, inode);
    }
  });

  test("has a find that knows too little: what is no file there is replaced all the same", async (t) => {
    const folder = makeFolder(t);
    const source = path.join(folder, "source");
    fs.mkdirSync(source);
    for (const name of ["a", "b"]) fs.writeFileSync(path.join(source, name), "x".repeat(200_000));
    const bin = path.join(folder, "bin");
    fs.mkdirSync(bin);
    linkAllBut(["find"], bin);
    const find = `#!/bin/sh\ncase "$*" in *-perm*) exit 1 ;; esac\nexec /usr/bin/find "$@"\n`;
    fs.writeFileSync(path.join(bin, "find"), find, { mode: 0o755 });
    const sshd = await startFakeSshd(t, { environment: { PATH: bin } });
    const machine = await connectTo(t, sshd, login);
    const target = path.join(folder, "target");
    fs.mkdirSync(target);
    fs.symlinkSync(path.join(source, "a"), path.join(target, "a"));
    await machine.upload({ path: `${source}/` }, `${target}/`, never);
    assert.deepEqual(describeTree(target), describeTree(source));
  });
});

/** Links to everything that a shell finds in the usual folders, but for some programs. */
function linkAllBut(missing: readonly string[], bin: string): void {
  for (const folder of ["/bin", "/usr/bin"]) {
    for (const name of fs.readdirSync(folder)) {
      const link = path.join(bin, name);
      if (!missing.includes(name) && !fs.existsSync(link)) fs.symlinkSync(path.join(folder, name), link);
    }
  }
}
