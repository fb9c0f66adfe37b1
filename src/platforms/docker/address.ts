import type { TlsFiles } from "./docker-config";

/** How the bytes get to an engine. */
export type Transport =
  | { kind: "socket"; path: string }
  | { kind: "tcp"; host: string; port: number; pathPrefix: string; tls?: TlsFiles }
  | { kind: "ssh"; host: string; port?: number; user?: string; socketPath?: string };

/** What an engine listens on when nobody said otherwise. */
export const defaultUnixSocket = "/var/run/docker.sock";

/** The same on Windows. */
export const defaultPipe = "//./pipe/docker_engine";

const plainPort = 2375;
const tlsPort = 2376;

/**
 * Reads an address as Docker writes it (`unix:///run/docker.sock`, `tcp://10.0.0.4:2376`, `ssh://me@build`).
 * `findTls` is asked only if the address can carry TLS. Throws a bare reason: the caller knows which setting
 * the address came from.
 */
export function parseAddress(address: string, findTls?: () => TlsFiles | undefined): Transport {
  const match = /^([a-z]+):\/\/(.*)$/s.exec(address);
  if (!match) return parseTcp(address, `tcp://${address}`, findTls);
  const [, scheme = "", rest = ""] = match;
  if (scheme === "unix") return { kind: "socket", path: rest || defaultUnixSocket };
  if (scheme === "npipe") return { kind: "socket", path: rest || defaultPipe };
  if (scheme === "ssh") return parseSsh(address);
  if (scheme === "tcp" || scheme === "http" || scheme === "https") return parseTcp(address, address, findTls);
  throw new Error(`the scheme "${scheme}" is not known. Use one of unix, npipe, tcp, http, https, ssh`);
}

/** The address without what a user may have put before the host; fit for messages. */
export function redactAddress(address: string): string {
  return address.replace(/^([a-z]+:\/\/)?[^/@]*:[^/]*@/, "$1***@");
}

function parseTcp(given: string, address: string, findTls?: () => TlsFiles | undefined): Transport {
  if (given.startsWith("/")) throw new Error(`a path needs its scheme. Write unix://${given}`);
  // A missing host means this machine, which the URL parser would refuse.
  const url = parseUrl(address.replace(/^([a-z]+:\/\/):/, "$1localhost:"));
  if (url.username)
    throw new Error("an engine reached by TCP takes no user name. Use TLS certificates, or ssh://");
  const tls = url.protocol === "http:" ? undefined : findTls?.();
  const secure = url.protocol === "https:" || tls !== undefined;
  return {
    kind: "tcp",
    host: hostOf(url),
    port: Number(url.port) || defaultPort(url.protocol, secure),
    pathPrefix: url.pathname.replace(/\/+$/, ""),
    ...(secure ? { tls: tls ?? {} } : {}),
  };
}

function defaultPort(protocol: string, secure: boolean): number {
  if (protocol === "http:") return 80;
  if (protocol === "https:") return 443;
  return secure ? tlsPort : plainPort;
}

function parseSsh(address: string): Transport {
  const url = parseUrl(address);
  const host = hostOf(url);
  const user = decodeURIComponent(url.username);
  // ssh takes a leading dash for an option, and some options run programs.
  if (host.startsWith("-") || user.startsWith("-"))
    throw new Error("host and user must not begin with a dash");
  return {
    kind: "ssh",
    host,
    ...(url.port ? { port: Number(url.port) } : {}),
    ...(user ? { user } : {}),
    ...(url.pathname.length > 1 ? { socketPath: decodeURIComponent(url.pathname) } : {}),
  };
}

function parseUrl(address: string): URL {
  let url: URL;
  try {
    url = new URL(address);
  } catch (error) {
    throw new Error("it is no valid address. Write, for example, tcp://10.0.0.4:2376", { cause: error });
  }
  if (url.password) throw new Error("it holds a password. Use keys or certificates instead");
  if (!url.hostname) throw new Error("it names no host");
  if (url.search || url.hash) throw new Error("it must end after the host, the port and the path");
  return url;
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, "$1");
}
