/** A container registry of a test's own, on a loopback port, that can be stopped and started again. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { parseReference } from "../../src/platforms/docker/reference";
import { findManifest } from "../../src/platforms/docker/registry";

/** Why tests with a registry cannot run here; a missing part fails in CI, where all parts are set up. */
export const registryMissing =
  !hasProgram("docker-registry") && process.env["CI"] !== "true" && "docker-registry is not installed";

/** Who may log in to a registry that wants credentials. */
export const user = { username: "kiln", password: "right-password" };
/** bcrypt of `user`, the only hash that the registry takes. */
const HTPASSWD = "kiln:$2b$04$kilnkilnkilnkilnkilnkeMeD5GsxY6pqwXTgsM6zqGSXoJqP24.W\n";

export class Registry {
  private child: ChildProcess | undefined;

  constructor(
    /** As in an image's name. */
    readonly address: string,
    private readonly folder: string,
    wantsCredentials: boolean,
  ) {
    const storage = { filesystem: { rootdirectory: path.join(folder, "data") }, delete: { enabled: true } };
    const auth = { htpasswd: { realm: "kiln", path: path.join(folder, "htpasswd") } };
    fs.writeFileSync(path.join(folder, "htpasswd"), HTPASSWD);
    const config = { version: 0.1, storage, http: { addr: address }, ...(wantsCredentials ? { auth } : {}) };
    fs.writeFileSync(path.join(folder, "config.yml"), JSON.stringify(config)); // YAML takes JSON
  }

  async start(): Promise<void> {
    const child = spawn("docker-registry", ["serve", path.join(this.folder, "config.yml")], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.child = child;
    let log = "";
    for await (const line of createInterface(child.stderr)) {
      log += `${line}\n`;
      if (!line.includes("listening on")) continue;
      child.stderr.resume();
      return;
    }
    throw new Error(`Starting docker-registry on ${this.address}: it ended:\n${log}`);
  }

  /** What was pushed is kept for the next start. */
  async stop(): Promise<void> {
    const { child } = this;
    this.child = undefined;
    if (!child || child.exitCode !== null) return;
    const exited = once(child, "exit");
    child.kill();
    await exited;
  }

  /** The digest of a `repository:tag`, if it is here. */
  async findDigest(name: string): Promise<string | undefined> {
    const reference = parseReference(`${this.address}/${name}`);
    return (
      await findManifest(reference, {
        credentials: { serverAddress: this.address, ...user },
      })
    )?.digest;
  }
}

/** An empty registry that allows deleting, not started yet; it is stopped, and its folder removed, when the test ends. */
export async function createRegistry(test: TestContext, wantsCredentials = false): Promise<Registry> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-registry-"));
  const registry = new Registry(`127.0.0.1:${await findFreePort()}`, folder, wantsCredentials);
  test.after(async () => {
    await registry.stop();
    fs.rmSync(folder, { recursive: true, force: true });
  });
  return registry;
}

/** A port of this machine that nothing listens at. */
export async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function hasProgram(name: string): boolean {
  try {
    execFileSync("which", [name], { stdio: "ignore" });
    return true;
  } catch {
    return false; // `which` says so by its exit code
  }
}
