/** A real OpenSSH server on a loopback port, with a configuration, keys and folders of its own. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { connect, createServer } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { connectSsh, type SshCommunicator } from "../../src/communicators/ssh";
import type { SshOptions } from "../../src/communicators/ssh-options";

export const never = new AbortController().signal;

export interface Sshd {
  port: number;
  /** Where its keys are; `client` is the one that it lets in. */
  folder: string;
  keyFile: string;
  /** Its public key, without comment. */
  hostKey: string;
  username: string;
  log(): string;
  stop(): Promise<void>;
}

/** False on a machine without the program, for tests that are skipped there; in CI it must be there. */
export function hasSshd(): boolean {
  if (process.env["KILN_SSHD"]) return true;
  if (process.env["CI"] === "true") throw new Error("KILN_SSHD is not set: run the tests by `npm test`");
  return false;
}

/** Starts a server; of two settings of the same name the first counts, so these win. */
export async function startSshd(settings: readonly string[] = [], port?: number): Promise<Sshd> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-sshd-"));
  for (const name of ["host", "client"])
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path.join(folder, name)]);
  fs.copyFileSync(path.join(folder, "client.pub"), path.join(folder, "authorized_keys"));
  const chosen = port ?? (await findFreePort());
  fs.writeFileSync(
    path.join(folder, "config"),
    [...settings, ...configure(folder, chosen)].join("\n") + "\n",
  );
  if (os.userInfo().uid === 0) fs.mkdirSync("/run/sshd", { recursive: true });
  const logFile = path.join(folder, "log");
  const log = fs.openSync(logFile, "a");
  const child = spawn(process.env["KILN_SSHD"] as string, ["-D", "-e", "-f", path.join(folder, "config")], {
    stdio: ["ignore", log, log],
  });
  fs.closeSync(log);
  while (!(await answers(chosen))) {
    if (child.exitCode !== null) throw new Error(`sshd ended: ${fs.readFileSync(logFile, "utf8")}`);
    await wait(10);
  }
  const hostKey = fs.readFileSync(path.join(folder, "host.pub"), "utf8").split(" ").slice(0, 2).join(" ");
  return {
    port: chosen,
    folder,
    keyFile: path.join(folder, "client"),
    hostKey,
    username: os.userInfo().username,
    log: () => fs.readFileSync(logFile, "utf8"),
    stop: () => stop(child, folder),
  };
}

/** Connects as the tests' user; the connection ends with the test. */
export async function connectTo(
  test: TestContext,
  sshd: Pick<Sshd, "port" | "username"> & { keyFile?: string },
  options: Partial<SshOptions> = {},
  more: { privateKey?: string; progress?: (text: string) => void; signal?: AbortSignal } = {},
): Promise<SshCommunicator> {
  const communicator = await connectSsh(
    {
      sshUsername: sshd.username,
      ...(sshd.keyFile === undefined ? {} : { sshPrivateKeyFile: sshd.keyFile }),
      sshTimeout: "30s",
      ...options,
    },
    {
      findAddress: () => Promise.resolve({ host: "127.0.0.1", port: sshd.port }),
      privateKey: more.privateKey,
      cwd: "/",
      signal: more.signal ?? never,
      log: { progress: more.progress ?? (() => undefined), info: () => undefined },
    },
  );
  test.after(() => communicator.close());
  return communicator;
}

/** What a command printed, both outputs, and its exit code. */
export async function run(
  communicator: SshCommunicator,
  command: string,
  options: { stdin?: Buffer | string; environment?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<{ exitCode: number; output: Buffer }> {
  const chunks: Buffer[] = [];
  const { exitCode } = await communicator.exec(command, {
    signal: never,
    ...options,
    onOutput: (chunk) => chunks.push(chunk),
  });
  return { exitCode, output: Buffer.concat(chunks) };
}

export async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

function configure(folder: string, port: number): string[] {
  return [
    `Port ${port}`,
    "ListenAddress 127.0.0.1",
    `HostKey ${folder}/host`,
    `PidFile ${folder}/pid`,
    `AuthorizedKeysFile ${folder}/authorized_keys`,
    "StrictModes no", // the folder is below one that everybody may write to
    "UsePAM no",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    "PermitRootLogin prohibit-password",
    "MaxStartups 200",
    "LogLevel VERBOSE",
    // What a user's own profile prints, or how long it takes, is not to be tested.
    `SetEnv HOME=${folder}`,
    "Subsystem sftp internal-sftp",
  ];
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("data", () => (socket.destroy(), resolve(true)));
    socket.once("error", () => resolve(false)).once("close", () => resolve(false));
  });
}

async function stop(child: ChildProcess, folder: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const ended = once(child, "exit");
    child.kill();
    await ended;
  }
  fs.rmSync(folder, { recursive: true, force: true });
}
