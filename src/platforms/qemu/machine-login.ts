/** How the build gets into its machine. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { ConnectOptions } from "../../communicators/ssh";
import { HopelessError } from "../../communicators/ssh-host-key";
import type { BuildContext } from "../../core/context";
import { parseDuration } from "../../core/duration";
import type { Communicator } from "../../core/model";
import { sleep } from "../../core/retry";
import { parseBootCommand } from "../../machines/boot-command";
import { createKeyPair, type KeyPair } from "../../machines/keypair";
import type { MachineConnection, QemuDriver, QemuMachine } from "./driver";
import type { QemuImageOptions } from "./options";

/** The key pair that lets us in, if it was made for the build, and the key that the machine shows; "" before it has. */
export interface Login {
  privateKey?: string;
  publicKey?: string;
  hostKey: string;
}

/** Undefined where the user has a login. */
export async function makeKeyPair(options: QemuImageOptions, buildId: string): Promise<KeyPair | undefined> {
  const { sshPrivateKeyFile, sshAgentAuth, sshPassword } = options;
  if (sshAgentAuth || (sshPrivateKeyFile ?? sshPassword) !== undefined) return undefined;
  const { temporaryKeyPairType: type, temporaryKeyPairBits: bits } = options;
  return createKeyPair(`kiln-${buildId}`, { type, bits });
}

export async function typeBootCommand(
  { signal, log }: BuildContext,
  { bootCommand, bootWait, bootKeyInterval }: QemuImageOptions,
  machine: QemuMachine,
  values: Record<string, string>,
): Promise<void> {
  if (bootCommand === undefined) return;
  log.progress("waiting to type the boot command");
  await sleep(parseDuration(bootWait ?? "10s"), signal);
  log.progress("typing the boot command");
  for (const action of parseBootCommand(bootCommand, values)) {
    if ("waitMs" in action) await sleep(action.waitMs, signal);
    else {
      await machine.pressKeys(action.keys);
      await sleep(parseDuration(bootKeyInterval ?? "20ms"), signal);
    }
  }
}

export function connectMachine(
  { log, cwd, signal }: BuildContext,
  driver: QemuDriver,
  options: QemuImageOptions,
  machine: QemuMachine,
  { privateKey, hostKey }: Login,
): Promise<MachineConnection> {
  const findAddress: ConnectOptions["findAddress"] = async () => {
    if (machine.hasEnded) throw new HopelessError("Reaching the machine: it has ended by itself");
    return findLoginAddress(options, machine);
  };
  log.progress("waiting for SSH");
  const known = hostKey === "" ? {} : { sshHostKey: hostKey };
  return driver.connect({ ...options, ...known }, { findAddress, privateKey, cwd, signal, log });
}

async function findLoginAddress(
  { sshHost, sshPort = 22 }: QemuImageOptions,
  machine: QemuMachine,
): Promise<{ host: string; port: number }> {
  if (sshHost !== undefined) return { host: sshHost, port: sshPort };
  return { host: "127.0.0.1", port: await machine.findPort() };
}

/** For the person who wants to look into a machine that is kept. */
export async function noteLogin(
  folder: string,
  options: QemuImageOptions,
  machine: QemuMachine,
  { privateKey }: Login,
): Promise<void> {
  const { host, port } = await findLoginAddress(options, machine);
  const key = path.join(folder, "key");
  if (privateKey !== undefined) fs.writeFileSync(key, privateKey, { mode: 0o600 });
  const identity = privateKey === undefined ? "" : ` -i ${key}`;
  const command = `ssh${identity} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -p ${port} ${options.sshUsername}@${host}`;
  fs.writeFileSync(path.join(folder, "login"), command, { mode: 0o600 });
}

/** What was saved yesterday believes that it is yesterday. */
export async function setClock({ signal, log }: BuildContext, communicator: Communicator): Promise<void> {
  const seconds = (Date.now() / 1000).toFixed(3);
  const command = `date -s @${seconds} >/dev/null 2>&1 || sudo -n date -s @${seconds} >/dev/null`;
  const { exitCode } = await communicator.exec(command, { signal });
  if (exitCode !== 0)
    log.warn("the resumed machine's clock could not be set: it lags by the time since it was saved");
}
