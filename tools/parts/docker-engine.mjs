/** A Docker engine: the one that this machine has, else one of our own. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { installPackages } from "./apt.mjs";
import { cachePath, isAlive, readIfExists, say, step } from "./cache.mjs";
import { findProgram, startDetached } from "./command.mjs";
import { engineAnswers } from "./engine-api.mjs";

const startDeadlineMs = 60_000;
const stopDeadlineMs = 30_000;
const advice =
  "Install Docker (Docker Desktop, Docker Engine, Colima, …) and start it, or set DOCKER_HOST to an engine that runs.";

/**
 * @typedef {object} Engine
 * @property {string} host for DOCKER_HOST
 * @property {boolean} started Whether this call started it.
 * @property {() => Promise<void>} stop Stops it if this call started it.
 */

/**
 * Finds an engine that answers, or starts one of our own, which goes on running until it is stopped.
 * @returns {Promise<Engine>}
 */
export async function findEngine() {
  const found = await findRunningEngine();
  if (found) return { host: found, started: false, stop: async () => {} };
  await ensureEnginePrograms();
  // Where Debian's package starts the engine itself, that one will do.
  const installed = await findRunningEngine();
  if (installed) return { host: installed, started: false, stop: async () => {} };
  const host = await step("Starting a Docker engine", startEngine);
  return { host, started: true, stop: stopEngine };
}

async function ensureEnginePrograms() {
  if (process.getuid?.() !== 0) {
    throw new Error(`Finding a Docker engine: none answers at ${candidateHosts().join(", ")}. ${advice}`);
  }
  // Who has Docker from elsewhere must not get Debian's on top of it.
  const missing = Object.entries({ dockerd: "docker.io", iptables: "iptables" })
    .filter(([program]) => !findProgram(program, systemPath()))
    .map(([, name]) => name);
  if (missing.length > 0) await installPackages(missing, advice);
}

/** The search path with the folders of programs for root, which a plain user's path may lack. */
const systemPath = () => `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`;

async function findRunningEngine() {
  const wished = process.env.DOCKER_HOST;
  for (const host of candidateHosts()) {
    if (await answers(host)) return host;
    if (host === wished) say(`DOCKER_HOST is ${host}, where no engine answers: looking elsewhere`);
  }
  return undefined;
}

/** @param {string} host */
async function answers(host) {
  if (!host.startsWith("ssh://")) return engineAnswers(host);
  say(`The Docker engine at ${host} is reached by SSH, which the set-up cannot do: looking elsewhere`);
  return false;
}

/** Where an engine may be, the most wished for first. */
function candidateHosts() {
  const home = homedir();
  const hosts = [
    process.env.DOCKER_HOST,
    contextHost(),
    process.platform === "win32" ? "npipe:////./pipe/docker_engine" : "unix:///var/run/docker.sock",
    `unix://${join(home, ".docker/run/docker.sock")}`,
    `unix://${join(home, ".docker/desktop/docker.sock")}`,
    `unix://${join(home, ".colima/default/docker.sock")}`,
    process.env.XDG_RUNTIME_DIR && `unix://${process.env.XDG_RUNTIME_DIR}/docker.sock`,
    ownHost(),
  ];
  return [...new Set(hosts.filter((host) => host !== undefined && host !== ""))];
}

/** The endpoint of the docker command's current context. */
function contextHost() {
  const folder = process.env.DOCKER_CONFIG ?? join(homedir(), ".docker");
  const config = readIfExists(join(folder, "config.json"));
  const name = process.env.DOCKER_CONTEXT || (config && JSON.parse(config).currentContext);
  if (!name || name === "default") return undefined;
  const id = createHash("sha256").update(name).digest("hex");
  const context = readIfExists(join(folder, "contexts/meta", id, "meta.json"));
  return context && JSON.parse(context).Endpoints?.docker?.Host;
}

const socketPath = () => cachePath("engine/docker.sock");
const pidPath = () => cachePath("engine/dockerd.pid");
const logPath = () => cachePath("engine/dockerd.log");
const ownHost = () => `unix://${socketPath()}`;

/** Starts our engine with whichever kind of packet filter this kernel has. */
async function startEngine() {
  const legacy = legacyFilterFolder();
  const attempts = [
    { args: [], env: {} },
    ...(legacy ? [{ args: [], env: { PATH: `${legacy}:${process.env.PATH}` } }] : []),
    // Without any filter, published ports still work by the engine's own proxy; containers reach no network.
    { args: ["--iptables=false", "--ip6tables=false"], env: {} },
  ];
  const failures = [];
  for (const { args, env } of attempts) {
    const failure = await tryToStart(args, env);
    if (failure === undefined) return ownHost();
    failures.push(failure);
    if (!/iptables|nf_tables|netfilter/i.test(failure)) break;
  }
  throw new Error(`Starting dockerd, whose log is ${logPath()}: ${failures.at(-1)}`);
}

/**
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string | undefined>} why it failed: the end of the log
 */
async function tryToStart(args, env) {
  rmSync(pidPath(), { force: true }); // dockerd refuses to start beside the file of one that was killed
  writeFileSync(logPath(), "");
  const folders = ["--data-root", cachePath("engine/data"), "--exec-root", cachePath("engine/exec")];
  const child = startDetached(
    findProgram("dockerd", systemPath()) ?? "dockerd",
    [...folders, "--host", ownHost(), "--pidfile", pidPath(), ...args],
    logPath(),
    env,
  );
  let spawnError = "";
  child.on("error", (error) => (spawnError = error.message));
  const deadlineMs = Date.now() + startDeadlineMs;
  while (child.exitCode === null && !spawnError && Date.now() < deadlineMs) {
    if (await engineAnswers(ownHost())) return undefined;
    await wait(100);
  }
  if (child.exitCode === null) child.kill("SIGKILL");
  return spawnError || readFileSync(logPath(), "utf8").trimEnd().split("\n").slice(-3).join("\n");
}

/** A folder in which `iptables` is the older variant, for kernels without nf_tables. */
function legacyFilterFolder() {
  const program = findProgram("iptables-legacy", "/usr/sbin:/sbin");
  if (!program) return undefined;
  const folder = cachePath("engine/legacy-filter");
  mkdirSync(folder, { recursive: true });
  for (const name of ["iptables", "ip6tables"]) {
    rmSync(join(folder, name), { force: true });
    symlinkSync(join(dirname(program), `${name}-legacy`), join(folder, name));
  }
  return folder;
}

/** Stops the engine in the cache, if it runs, with all its containers. */
export async function stopEngine() {
  const processId = Number(readIfExists(pidPath()));
  if (!isAlive(processId)) return;
  await step("Stopping the Docker engine", async () => {
    process.kill(processId, "SIGTERM");
    const deadlineMs = Date.now() + stopDeadlineMs;
    while (isAlive(processId)) {
      if (Date.now() > deadlineMs) {
        throw new Error(
          `Stopping dockerd: process ${processId} still runs after ${stopDeadlineMs / 1000} s. End it by hand.`,
        );
      }
      await wait(100);
    }
  });
}
