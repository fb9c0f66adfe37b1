/** What tests of QEMU images do beside the package: find what is left of a build, and boot an image by hand. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { connectSsh, type SshCommunicator } from "../../src/communicators/ssh";
import type { SshOptions } from "../../src/communicators/ssh-options";
import { makeSeed, SEED_LABEL } from "../../src/machines/cloud-init";
import { writeIso } from "../../src/machines/iso-image";
import { createKeyPair } from "../../src/machines/keypair";
import { findFreePort, run } from "./sshd";
import { createStack, type Stack } from "./stack";

const never = new AbortController().signal;

type Part = "KILN_QEMU_DISK" | "KILN_QEMU_INSTALLER";

/** Why a test with QEMU is skipped here, or false; in CI it never is. */
export function missingQemu(...parts: Part[]): string | false {
  if (process.env["CI"] === "true") return false;
  return ["KILN_QEMU", ...parts].filter((name) => !process.env[name]).join(", ") || false;
}

/** The options of an image that starts from the small Debian. */
export function startFromDisk(): Record<string, unknown> {
  return {
    isoUrl: valueOf("KILN_QEMU_DISK"),
    isoChecksum: `sha256:${valueOf("KILN_QEMU_DISK_SHA256")}`,
    diskImage: true,
    sshUsername: "debian",
    cloudInit: {},
    ...machine,
  };
}

/** The options of an image that is installed from the CD; its user is "builder". */
export function startFromInstaller(): Record<string, unknown> {
  return {
    isoUrl: valueOf("KILN_QEMU_INSTALLER"),
    isoChecksum: `sha256:${valueOf("KILN_QEMU_INSTALLER_SHA256")}`,
    diskSize: "2GiB",
    bootWait: "3s",
    bootCommand: ["install answers=http://{{ .HTTPIP }}:{{ .HTTPPort }}/answers<enter>"],
    httpContent: { "/answers": "USER=builder\nSSH_KEY='{{ .SSHPublicKey }}'\nPASSWORD=installed\n" },
    sshUsername: "builder",
    ...machine,
  };
}

// Where KVM is there it is often the nested one of a cloud's machine, and not the same from run to run.
// One processor: the emulation of several once in a while loses a timer under load, and the machine stands still.
const machine = { accelerator: "tcg", memory: "1GiB", cpus: 1 };

function valueOf(name: string): string {
  const value = process.env[name];
  if (!value)
    throw new Error(`${name} is not set: run the tests by \`npm test\`, which sets up what they need`);
  return value;
}

const SOURCE = `
const fs = require("fs");
const kiln = require("pulumi-kiln");
const program = JSON.parse(fs.readFileSync("program.json", "utf8"));
for (const [name, args] of Object.entries(program.images)) {
  const image = new kiln.qemu.Image(name, args);
  for (const output of ["path", "absolutePath", "format", "sha256", "sizeBytes", "fingerprint", "buildId"])
    exports[name + "-" + output] = image[output];
}
`;

/** A stack whose program declares images of QEMU. */
export async function createQemuStack(
  test: TestContext,
  project: string,
  images: Record<string, Record<string, unknown>>,
): Promise<Stack> {
  const stack = await createStack(test, project, { images });
  stack.write("index.js", SOURCE);
  return stack;
}

/** Command lines of the processes that builds of this stack have started and that still run. */
export function listProcesses(stack: Stack): string[] {
  return findProcesses(stack, (command) => /qemu|\bcat\b/.test(command.split(" ")[0] ?? ""));
}

/** Processes with the stack's home in their environment: the pid and the command line of each. */
export function findProcesses(stack: Stack, isWanted: (command: string) => boolean): string[] {
  return fs.readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const command = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      const environment = fs.readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
      const isOurs = environment.includes(`PULUMI_KILN_HOME=${stack.home}`);
      return isOurs && isWanted(command) ? [`${pid} ${command}`] : [];
    } catch {
      return []; // it has just ended, or is somebody else's
    }
  });
}

/** Names in the folder of the stack's images. */
export function listImages(stack: Stack): string[] {
  const folder = path.join(stack.folder, "images");
  return fs.existsSync(folder) ? fs.readdirSync(folder).sort() : [];
}

/** A machine that was booted by hand. */
export interface BootedMachine {
  /** What a command printed; throws unless it ended with 0. */
  run(command: string): Promise<string>;
  stop(): Promise<void>;
}

/**
 * Boots an image as its users would; all that the machine writes is thrown away. With `login` as in the image, else
 * cloud-init makes one. Throws with the serial log if the machine ends.
 */
export async function bootImage(
  test: TestContext,
  image: { path: string; format: string },
  login?: SshOptions,
): Promise<BootedMachine> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-boot-"));
  test.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const overlay = path.join(folder, "disk.qcow2");
  const backing = ["-b", path.resolve(image.path), "-F", image.format];
  execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", ...backing, overlay]);
  const { privateKey, publicKey } = await createKeyPair("test");
  await writeSeed(path.join(folder, "seed.iso"), publicKey);
  const port = await findFreePort();
  const serial = path.join(folder, "serial.log");
  const child = spawn(valueOf("KILN_QEMU"), formatArguments({ overlay, folder, port, serial }), {
    stdio: "ignore",
  });
  const ended = once(child, "exit");
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
    fs.rmSync(folder, { recursive: true, force: true });
  };
  test.after(stop);
  const died = ended.then(() => Promise.reject(new Error("QEMU ended")));
  const connected = connect(port, login, privateKey);
  const communicator = await Promise.race([connected, died]).catch((cause: unknown) => {
    throw new Error(`Booting ${image.path}: ${(cause as Error).message}\n${readEnd(serial)}`, { cause });
  });
  died.catch(() => undefined); // from here on its end is ours
  return {
    stop,
    run: async (command) => {
      const { exitCode, output } = await run(communicator, command);
      if (exitCode !== 0) throw new Error(`${command}: exit code ${exitCode}\n${output.toString()}`);
      return output.toString();
    },
  };
}

function connect(port: number, login: SshOptions | undefined, privateKey: string): Promise<SshCommunicator> {
  return connectSsh(
    { sshTimeout: "3m", ...(login ?? { sshUsername: "debian" }) },
    {
      findAddress: () => Promise.resolve({ host: "127.0.0.1", port }),
      privateKey: login ? undefined : privateKey,
      cwd: "/",
      signal: never,
      log: { progress: () => undefined, info: () => undefined },
    },
  );
}

function formatArguments(paths: { overlay: string; folder: string; port: number; serial: string }): string[] {
  const { overlay, folder, port, serial } = paths;
  return [
    ...["-nodefaults", "-display", "none", "-accel", "tcg", "-cpu", "Nehalem", "-smp", "1", "-m", "1024"],
    ...["-serial", `file:${serial}`],
    ...["-drive", `file=${overlay},format=qcow2,if=virtio`],
    ...["-drive", `file=${path.join(folder, "seed.iso")},format=raw,media=cdrom,readonly=on`],
    ...["-netdev", `user,id=net0,hostfwd=tcp:127.0.0.1:${port}-:22`, "-device", "virtio-net-pci,netdev=net0"],
  ];
}

/** A seed for cloud-init that lets a key in. */
async function writeSeed(file: string, publicKey: string): Promise<void> {
  const instanceId = path.basename(path.dirname(file));
  await writeIso(file, makeSeed({ instanceId, user: "debian", publicKey }), { label: SEED_LABEL });
}

function readEnd(serial: string): string {
  return fs.existsSync(serial) ? fs.readFileSync(serial, "utf8").slice(-2000) : "";
}
