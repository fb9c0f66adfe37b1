/** What is said to HAProxy in several places, and what its answers say. */
import type { ServerTraffic } from "./balancer";
import { OWNER_SUFFIX } from "./haproxy-config";

/** Operational state and check result of a server that works and was asked, in `show servers state`. */
const RUNNING = "2";
const PASSED = "3";

/** Beside the key, in the same map: who owns its servers is forgotten when they are. */
export function ownerKey(key: string): string {
  return key + OWNER_SUFFIX;
}

/** Out of maintenance a server would count as healthy before its first check. */
export function listEnabling(server: string): string[] {
  return [
    `set server ${server} state ready`,
    `set server ${server} health down`,
    `set server ${server} weight 100%`,
    `enable health ${server}`,
  ];
}

/** Not told to drain or to be in maintenance, and with its full weight: by a hand, or by us. */
export function isAccepting(row: Record<string, string>): boolean {
  return row["srv_admin_state"] === "0" && row["srv_uweight"] === row["srv_iweight"];
}

/** `<pointer> <key> <value>` */
export function parseMap(answer: string): Map<string, string> {
  const entries = answer.split("\n").flatMap((line): [string, string][] => {
    const [, key, value] = line.split(" ");
    return key !== undefined && value !== undefined ? [[key, value]] : [];
  });
  return new Map(entries);
}

/** Running and waiting requests by `<backend>/<server>`, of all workers together. */
export function sumOpen(counts: readonly Record<string, string>[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const row of counts) {
    const name = `${row["pxname"] ?? ""}/${row["svname"] ?? ""}`;
    sums.set(name, (sums.get(name) ?? 0) + Number(row["scur"]) + Number(row["qcur"]));
  }
  return sums;
}

/** From a row of `show servers state`, and the rows of `show stat`. */
export function readTraffic(
  row: Record<string, string>,
  counts: readonly Record<string, string>[],
  open: Map<string, number>,
): ServerTraffic {
  const { be_name: colour = "", srv_name: name = "" } = row;
  const count = counts.find((one) => one["pxname"] === colour && one["svname"] === name) ?? {};
  const { status, check_status: check, check_code: code, last_chk: words } = count;
  // A check that runs now is marked by a star, and has forgotten the code of the one before.
  const answer = check?.startsWith("*") ? [] : [status, check, code, words];
  return {
    colour,
    name,
    isHealthy: isAccepting(row) && row["srv_op_state"] === RUNNING && row["srv_check_result"] === PASSED,
    answer: answer.filter((part) => part).join(" "),
    open: open.get(`${colour}/${name}`) ?? 0,
  };
}

/** The first line of an answer that was not the expected one, and what to do. */
export function explainRefusal(answer: string): string {
  const [reason = ""] = answer.split("\n");
  if (/permission denied/i.test(answer)) return `${reason} The socket needs \`level admin\``;
  if (/unknown map/i.test(answer)) return `${reason} It must be named as in the configuration`;
  if (/can't find backend|no such backend/i.test(answer))
    return `${reason} Both backends must be in the configuration`;
  if (/unknown command/i.test(answer)) return "it does not know that. HAProxy 2.6 or newer is needed";
  return reason || "no answer";
}
