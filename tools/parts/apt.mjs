/** Programs from Debian packages. */
import { readIfExists, step } from "./cache.mjs";
import { run } from "./command.mjs";

const lockWait = ["-o", "DPkg::Lock::Timeout=300"];

/** @type {Promise<void>} */
let lastTurn = Promise.resolve();

/** Whether this process may install Debian packages: root on Debian or a child of it. */
export function canInstallPackages() {
  const release = readIfExists("/etc/os-release") ?? "";
  return process.getuid?.() === 0 && /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release);
}

/**
 * Sees to it that Debian packages are there.
 * @param {readonly string[]} packages
 * @param {string} otherwise What to do where we may not install: it ends the error's message.
 */
export async function installPackages(packages, otherwise) {
  if (!canInstallPackages()) {
    throw new Error(`Installing ${packages.join(", ")}: this needs root on Debian or Ubuntu. ${otherwise}`);
  }
  // The parts are set up side by side, but apt works for one at a time. A failure is that caller's own.
  const turn = lastTurn.then(() => installMissing(packages));
  lastTurn = turn.catch(() => {});
  await turn;
}

/** @param {readonly string[]} packages */
async function installMissing(packages) {
  /** @type {string[]} */
  const missing = [];
  for (const name of packages) if (!(await isInstalled(name))) missing.push(name);
  if (missing.length === 0) return;
  await step(`Installing the Debian packages ${missing.join(", ")}`, () => install(missing));
}

/** @param {string} name */
async function isInstalled(name) {
  // A name that dpkg has never heard of is an error to it, hence the pattern: no match is then an empty answer.
  const all = await run("dpkg-query", ["-W", "-f", "${Package} ${db:Status-Abbrev}\n"]);
  return all.split("\n").some((line) => line.startsWith(`${name} ii`));
}

/** @param {readonly string[]} names */
async function install(names) {
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const args = [...lockWait, "install", "--yes", "--no-install-recommends", ...names];
  // Lists may be missing (a fresh container) or old (the versions in them gone), so they are fetched first.
  await run("apt-get", [...lockWait, "update"], { env });
  await run("apt-get", args, { env });
}
