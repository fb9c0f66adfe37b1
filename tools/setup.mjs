/**
 * Sees to it that this machine has the real parts: Pulumi, its Docker provider, a Docker engine, images, a registry.
 * What is there is used; what is missing is made where that can be done, else the error says what to install.
 * As a program: `eval "$(node tools/setup.mjs)"` gives a shell the environment that the tests and the demo run in;
 * with the argument `qemu` also QEMU, and what its tests start from.
 */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureBaseImage, ensureTinyImage } from "./parts/base-image.mjs";
import { say, withLock } from "./parts/cache.mjs";
import { findEngine } from "./parts/docker-engine.mjs";
import { ensureDockerProvider, prepareDockerProvider } from "./parts/docker-provider.mjs";
import { findHaproxy } from "./parts/haproxy.mjs";
import { findMediaReaders } from "./parts/media-readers.mjs";
import { findPulumi } from "./parts/pulumi.mjs";
import { pulumiEnvironment, pulumiHome } from "./parts/pulumi-environment.mjs";
import { findQemu } from "./parts/qemu.mjs";
import { findQemuDisk } from "./parts/qemu-disk.mjs";
import { ensureQemuInstaller } from "./parts/qemu-installer.mjs";
import { startRegistry } from "./parts/registry.mjs";
import { findSshd } from "./parts/sshd.mjs";

/** @typedef {"pulumi" | "docker-provider" | "engine" | "tiny-image" | "base-image" | "registry" | "sshd" | "haproxy" | "media-readers" | "qemu" | "qemu-disk" | "qemu-installer"} Part */

/** What lasts beyond one run; a registry does not. */
export const lastingParts = /** @type {const} */ ([
  "pulumi",
  "docker-provider",
  "engine",
  "tiny-image",
  "base-image",
]);

/** Programs that some tests start; where one is missing, only those are skipped. */
export const testPrograms = /** @type {const} */ (["sshd", "haproxy", "media-readers"]);

/** What the tests of QEMU images start, and start from; as with the programs, only those are skipped without it. */
export const qemuParts = /** @type {const} */ (["qemu", "qemu-disk", "qemu-installer"]);

/**
 * @typedef {object} SetUp
 * @property {NodeJS.ProcessEnv} environment The variables that lead to the parts.
 * @property {{ part: Part, reason: string }[]} missing What could not be had, and what to do about it.
 * @property {() => Promise<void>} stop Stops what this call started.
 */

/**
 * Finds or makes the parts. Never throws because one is missing: callers differ in what they can do without.
 * @param {{ needs: readonly Part[] }} options
 * @returns {Promise<SetUp>}
 */
export function setUp({ needs }) {
  /** @type {NodeJS.ProcessEnv} */
  const environment = {};
  /** @type {SetUp["missing"]} */
  const missing = [];
  /** @type {(() => Promise<void>)[]} */
  const stops = [];

  /**
   * @param {Part} part
   * @param {() => Promise<void>} run
   */
  async function attempt(part, run) {
    if (!needs.includes(part)) return;
    try {
      await run();
    } catch (error) {
      missing.push({ part, reason: /** @type {Error} */ (error).message });
    }
  }

  async function setUpPulumi() {
    // Where both must be built, they share two cores better than they take turns: downloads overlap with compiling.
    const prepared = attempt("docker-provider", () => prepareDockerProvider(pulumiHome()));
    await attempt("pulumi", async () => {
      const pulumi = await findPulumi();
      Object.assign(environment, pulumiEnvironment(pulumi), { KILN_PULUMI: pulumi });
    });
    await prepared;
    const pulumi = environment.KILN_PULUMI;
    if (pulumi && !isMissing("docker-provider")) {
      await attempt("docker-provider", () =>
        ensureDockerProvider(pulumi, { ...environment, PULUMI_HOME: pulumiHome() }),
      );
    }
  }

  async function setUpEngine() {
    await attempt("engine", async () => {
      const engine = await findEngine();
      environment.DOCKER_HOST = engine.host;
      stops.push(engine.stop);
    });
    const host = environment.DOCKER_HOST;
    if (!host) return;
    await attempt("tiny-image", async () => {
      environment.KILN_TINY_IMAGE = await ensureTinyImage(host);
    });
    await attempt("base-image", async () => {
      const image = await ensureBaseImage(host);
      environment.KILN_BASE_IMAGE = image.reference;
      environment.KILN_BUILD_VOLUMES = JSON.stringify(image.ownMake ? certificateVolumes() : []);
    });
  }

  async function setUpRegistry() {
    await attempt("registry", async () => {
      const registry = await startRegistry();
      environment.KILN_REGISTRY = registry.address;
      stops.push(registry.stop);
    });
  }

  async function setUpSshd() {
    await attempt("sshd", async () => {
      environment.KILN_SSHD = await findSshd();
    });
  }

  async function setUpHaproxy() {
    await attempt("haproxy", async () => {
      environment.KILN_HAPROXY = await findHaproxy();
    });
  }

  async function setUpMediaReaders() {
    await attempt("media-readers", async () => {
      environment.KILN_MEDIA_READERS = await findMediaReaders();
    });
  }

  async function setUpQemu() {
    await attempt("qemu", async () => {
      environment.KILN_QEMU = await findQemu();
    });
    await attempt("qemu-disk", async () => {
      const disk = await findQemuDisk();
      environment.KILN_QEMU_DISK = disk.path;
      environment.KILN_QEMU_DISK_SHA256 = disk.sha256;
    });
    await attempt("qemu-installer", async () => {
      const installer = await ensureQemuInstaller();
      environment.KILN_QEMU_INSTALLER = installer.path;
      environment.KILN_QEMU_INSTALLER_SHA256 = installer.sha256;
    });
  }

  /** @param {Part} part */
  const isMissing = (part) => missing.some((entry) => entry.part === part);

  return withLock("setup", async () => {
    await Promise.all([
      setUpPulumi(),
      setUpEngine().then(setUpRegistry),
      setUpSshd(),
      setUpHaproxy(),
      setUpMediaReaders(),
      setUpQemu(),
    ]);
    return {
      environment,
      missing,
      stop: async () => {
        for (const stop of stops.reverse()) await stop();
      },
    };
  });
}

/**
 * The host's certificate authorities, for builds in an image of our own make. A network that has no way to a
 * registry often also re-signs TLS, and pip in the container then trusts only what the host trusts.
 */
function certificateVolumes() {
  return ["/etc/ssl/certs", "/usr/local/share/ca-certificates"]
    .filter((folder) => existsSync(folder))
    .map((folder) => `${folder}:${folder}:ro`);
}

/**
 * One line per missing part, and what to do about it.
 * @param {SetUp["missing"]} missing
 */
export function describeMissing(missing) {
  return missing.map(({ part, reason }) => `${part}: ${reason}`).join("\n");
}

/**
 * Lines for a shell to read.
 * @param {NodeJS.ProcessEnv} environment
 */
export function formatExports(environment) {
  const { PATH: _whole, KILN_PULUMI: pulumi, ...rest } = environment;
  const lines = Object.entries(rest).map(([name, value]) => `export ${name}=${quote(value ?? "")}`);
  if (pulumi)
    lines.push(`export KILN_PULUMI=${quote(pulumi)}`, `export PATH=${quote(dirname(pulumi))}:"$PATH"`);
  return lines.join("\n") + "\n";
}

/** @param {string} value */
const quote = (value) => `'${value.replaceAll("'", "'\\''")}'`;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const ofQemu = process.argv.includes("qemu") ? qemuParts : [];
  const { environment, missing } = await setUp({ needs: [...lastingParts, ...ofQemu] });
  process.stdout.write(formatExports(environment));
  if (missing.length > 0) {
    say(`Missing:\n${describeMissing(missing)}`);
    process.exitCode = 1;
  }
}
