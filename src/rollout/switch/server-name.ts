/** Names of servers in the proxy: they say whose they are, and everything that no command can change later. For ever: they stand in running proxies. */
import { createHash } from "node:crypto";
import type { Server } from "../plan";

const PATTERN = /^k([0-9a-f]{8})\.([0-9a-f]{8})\./;

/** `k<lineage>.<version>.<name>.<place and checks>`: the same name is the same server. */
export function formatServerName(lineage: string, version: string, server: Server, checks: string): string {
  const place = shortHash(`${server.address} ${server.port} ${checks}`).slice(0, 6);
  return `k${lineage}.${version}.${server.name}.${place}`;
}

/** The hashed version of a server that this lineage added, else undefined. */
export function readVersion(lineage: string, name: string): string | undefined {
  const [, owner, version] = PATTERN.exec(name) ?? [];
  return owner === lineage ? version : undefined;
}

/** Versions may hold any characters; names may not. */
export function hashVersion(version: string): string {
  return shortHash(version);
}

function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}
