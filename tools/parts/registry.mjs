/** A container registry on a loopback port, for tests that push and pull. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { get } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { installPackages } from "./apt.mjs";
import { readIfExists, step } from "./cache.mjs";
import { findProgram, startDetached } from "./command.mjs";

const startDeadlineMs = 20_000;

/**
 * Starts an empty registry that allows deletion.
 * @returns {Promise<{ address: string, stop: () => Promise<void> }>} address as in an image's name, `127.0.0.1:PORT`
 */
export async function startRegistry() {
  if (!findProgram("docker-registry")) {
    await installPackages(
      ["docker-registry"],
      "Put the program docker-registry (CNCF distribution) on PATH.",
    );
  }
  return step("Starting a container registry", launch);
}

async function launch() {
  const folder = mkdtempSync(join(tmpdir(), "kiln-registry-"));
  const address = `127.0.0.1:${await findFreePort()}`;
  const configFile = join(folder, "config.yml");
  const logFile = join(folder, "log");
  writeFileSync(configFile, configuration(address, join(folder, "storage")));
  const child = startDetached("docker-registry", ["serve", configFile], logFile);
  let spawnError = "";
  child.on("error", (error) => (spawnError = error.message));
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null && !spawnError) {
      const ended = once(child, "exit");
      child.ref();
      child.kill();
      await ended;
    }
    rmSync(folder, { recursive: true, force: true });
  };
  const deadlineMs = Date.now() + startDeadlineMs;
  while (!(await answers(address))) {
    if (child.exitCode !== null || spawnError || Date.now() > deadlineMs) {
      const reason = spawnError || readIfExists(logFile)?.trimEnd().split("\n").slice(-3).join("\n");
      await stop();
      throw new Error(`Starting docker-registry on ${address}: ${reason}`);
    }
    await wait(50);
  }
  return { address, stop };
}

/**
 * @param {string} address
 * @param {string} storage
 */
function configuration(address, storage) {
  // JSON is YAML, and needs no quoting of our own.
  return JSON.stringify({
    version: 0.1,
    log: { level: "warn" },
    storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
    http: { addr: address },
  });
}

/**
 * @param {string} address
 * @returns {Promise<boolean>}
 */
function answers(address) {
  return new Promise((resolve) => {
    get(`http://${address}/v2/`, (response) => resolve(response.resume().statusCode === 200)).on(
      "error",
      () => resolve(false),
    );
  });
}

/** @returns {Promise<number>} */
async function findFreePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  server.close();
  await once(server, "close");
  return port;
}
