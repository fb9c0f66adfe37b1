/** Images to build from: Debian's Python, and a very small one. */
import { createReadStream, existsSync, readFileSync, renameSync, rmSync } from "node:fs";
import { Readable } from "node:stream";
import { installPackages } from "./apt.mjs";
import { cachePath, say, step } from "./cache.mjs";
import { findProgram, run } from "./command.mjs";
import { hasImage, importImage, pullImage, tagImage } from "./engine-api.mjs";
import { writeTar } from "./tar.mjs";

const pulledPython = "python:3.9-slim";
const ownPython = "kiln-base/python:bookworm";
const pulledTiny = "busybox:latest";
const ownTiny = "kiln-base/busybox:latest";

const debianPackages = ["python3", "python3-pip", "python-is-python3", "ca-certificates"];
const pythonChanges = [
  "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  // Debian keeps pip away from its own Python, as a person's system needs it; in an image nobody else does.
  "ENV PIP_BREAK_SYSTEM_PACKAGES=1",
  'CMD ["python3"]',
];

/**
 * @typedef {object} BaseImage
 * @property {string} reference
 * @property {boolean} ownMake Whether it was made here, because no registry could be reached.
 */

/**
 * Sees to it that the engine holds an image with Python and pip.
 * @param {string} host
 * @returns {Promise<BaseImage>}
 */
export async function ensureBaseImage(host) {
  const wished = process.env.KILN_BASE_IMAGE;
  if (wished && (await hasImage(host, wished))) return { reference: wished, ownMake: wished === ownPython };
  if (await hasImage(host, pulledPython)) return { reference: pulledPython, ownMake: false };
  if (await hasImage(host, ownPython)) return { reference: ownPython, ownMake: true };
  if (await tryToPull(host, pulledPython)) return { reference: pulledPython, ownMake: false };
  const tar = cachePath("base-image/python-bookworm.tar");
  if (!existsSync(tar)) await makeDebianTar(tar);
  await step(`Importing ${ownPython}`, () =>
    importImage(host, ownPython, createReadStream(tar), pythonChanges),
  );
  return { reference: ownPython, ownMake: true };
}

/**
 * Sees to it that the engine holds an image of 2 MB with a shell, and returns its name.
 * @param {string} host
 */
export async function ensureTinyImage(host) {
  if (await hasImage(host, ownTiny)) return ownTiny;
  if (await tryToPull(host, pulledTiny)) await tagImage(host, pulledTiny, ownTiny);
  else await importBusybox(host);
  return ownTiny;
}

/** Engines for which a pull failed: one wait for a registry that is not there is enough. */
const withoutRegistry = new Set();

/**
 * @param {string} host
 * @param {string} reference
 */
async function tryToPull(host, reference) {
  if (withoutRegistry.has(host)) return false;
  try {
    await step(`Pulling ${reference}`, () => pullImage(host, reference));
    return true;
  } catch (error) {
    withoutRegistry.add(host);
    say(`${/** @type {Error} */ (error).message}. Going on without a registry`);
    return false;
  }
}

/** @param {string} tar */
async function makeDebianTar(tar) {
  await installPackages(
    ["mmdebstrap", "debian-archive-keyring"],
    `Give the engine a way to its registry and run "docker pull ${pulledPython}", or name an image with Python by KILN_BASE_IMAGE.`,
  );
  const draft = `${tar}.${process.pid}.tar`; // mmdebstrap goes by the ending; half a file must not get the real name
  const leaveOut = ["doc", "info", "man", "locale"].map(
    (name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`,
  );
  const args = ["--variant=minbase", `--include=${debianPackages.join(",")}`, ...leaveOut, "bookworm", draft];
  try {
    await step("Making a Debian with Python", () => run("mmdebstrap", args));
    renameSync(draft, tar);
  } finally {
    rmSync(draft, { force: true });
  }
}

/** @param {string} host */
async function importBusybox(host) {
  await installPackages(
    ["busybox-static"],
    `Give the engine a way to its registry and run "docker pull ${pulledTiny} && docker tag ${pulledTiny} ${ownTiny}".`,
  );
  const program = findProgram("busybox", "/bin:/usr/bin") ?? "/bin/busybox";
  const applets = (await run(program, ["--list"])).split("\n").filter((name) => name && name !== "busybox");
  const folders = ["bin/", "etc/", "root/", "tmp/"].map((path) => ({ path }));
  const files = [
    { path: "bin/busybox", content: readFileSync(program), mode: 0o755 },
    { path: "etc/passwd", content: Buffer.from("root:x:0:0:root:/root:/bin/sh\n"), mode: 0o644 },
    { path: "etc/group", content: Buffer.from("root:x:0:\n"), mode: 0o644 },
  ];
  const links = applets.map((name) => ({ path: `bin/${name}`, link: "busybox" }));
  const changes = ["ENV PATH=/bin", 'CMD ["sh"]'];
  await importImage(host, ownTiny, Readable.from([writeTar([...folders, ...files, ...links])]), changes);
}
