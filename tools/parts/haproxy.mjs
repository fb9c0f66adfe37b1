/** HAProxy, as a program of this machine: the tests of the switch start processes of their own. */
import { installPackages } from "./apt.mjs";
import { findProgram } from "./command.mjs";

const searchPath = `${process.env.PATH ?? ""}:/usr/sbin:/usr/local/sbin`;

/** The path of the program, 2.6 or newer. */
export async function findHaproxy() {
  const present = findProgram("haproxy", searchPath);
  if (present) return present;
  await installPackages(["haproxy"], "Put HAProxy 2.6 or newer on PATH.");
  return findProgram("haproxy", searchPath) ?? "/usr/sbin/haproxy";
}
