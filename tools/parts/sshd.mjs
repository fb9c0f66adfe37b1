/** OpenSSH's server. The tests start it themselves, on loopback ports and with settings of their own. */
import { chmodSync, existsSync, rmSync, writeFileSync } from "node:fs";
import { canInstallPackages, installPackages } from "./apt.mjs";
import { findProgram } from "./command.mjs";

const searchPath = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`;

/**
 * Finds OpenSSH's server, or installs it without starting the machine's own.
 * @returns {Promise<string>} its path: sshd wants to be called by that
 */
export async function findSshd() {
  const found = findProgram("sshd", searchPath);
  if (found) return found;
  const otherwise = "Install OpenSSH's server.";
  // The package starts a server of the machine's own, which nobody asked for, unless it is told that it may not.
  const policy = "/usr/sbin/policy-rc.d";
  const isOurs = canInstallPackages() && !existsSync(policy);
  if (isOurs) {
    writeFileSync(policy, "#!/bin/sh\nexit 101\n");
    chmodSync(policy, 0o755);
  }
  try {
    await installPackages(["openssh-server"], otherwise);
  } finally {
    if (isOurs) rmSync(policy, { force: true });
  }
  const installed = findProgram("sshd", searchPath);
  if (!installed)
    throw new Error(`Looking for sshd after its package was installed: it is not there. ${otherwise}`);
  return installed;
}
