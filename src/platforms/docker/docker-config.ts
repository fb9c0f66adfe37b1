import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Where Docker keeps a user's settings: the environment first, then the home folder. */
export interface DockerHome {
  env: NodeJS.ProcessEnv;
  home: string;
}

/** What the package reads of Docker's `config.json`; other keys are left alone. */
export interface DockerConfig {
  currentContext?: string;
  credsStore?: string;
  credHelpers?: { [registry: string]: string };
  auths?: { [registry: string]: StoredAuth };
}

/** One entry of `auths`: `auth` is base64 of `user:password`. */
export interface StoredAuth {
  auth?: string;
  username?: string;
  password?: string;
  identitytoken?: string;
}

/** PEM texts for a connection over TLS; without `ca` the system's authorities are trusted. */
export interface TlsFiles {
  ca?: Buffer;
  cert?: Buffer;
  key?: Buffer;
  /** True only where a context says `SkipTLSVerify`, or DOCKER_TLS is set without DOCKER_TLS_VERIFY. */
  skipVerify?: boolean;
}

/** A context as `docker context create` stores it. */
export interface DockerContext {
  host: string;
  tls?: TlsFiles;
}

/** The folder that holds `config.json` and the contexts; it need not exist. */
export function dockerConfigFolder({ env, home }: DockerHome): string {
  return env.DOCKER_CONFIG || join(home, ".docker");
}

/** Docker's settings; a user without the file simply has none. */
export function readDockerConfig(where: DockerHome): DockerConfig {
  const path = join(dockerConfigFolder(where), "config.json");
  if (!existsSync(path)) return {};
  return parseObject(path, readText("Docker's settings", path));
}

/** The address and the keys of a named context; throws when there is no such context. */
export function readDockerContext(name: string, where: DockerHome): DockerContext {
  const folder = join(dockerConfigFolder(where), "contexts");
  const id = createHash("sha256").update(name).digest("hex");
  const path = join(folder, "meta", id, "meta.json");
  if (!existsSync(path)) {
    throw new Error(
      `Reading the Docker context "${name}": ${path} does not exist. ` +
        "`docker context ls` lists the contexts; `docker context use default` goes back to the local engine.",
    );
  }
  const endpoint = findDockerEndpoint(parseObject(path, readText(`the Docker context "${name}"`, path)));
  if (!endpoint) {
    throw new Error(
      `Reading the Docker context "${name}": ${path} names no host for Docker. Create the context again.`,
    );
  }
  const tls = readTlsFiles(join(folder, "tls", id, "docker"));
  if (!tls && !endpoint.skipVerify) return { host: endpoint.host };
  return { host: endpoint.host, tls: { ...tls, skipVerify: endpoint.skipVerify } };
}

/** The PEM files of a folder, or undefined if it holds none. Throws for a certificate without its key. */
export function readTlsFiles(folder: string): TlsFiles | undefined {
  const read = (name: string) => {
    const path = join(folder, name);
    return existsSync(path) ? readBytes("a TLS file", path) : undefined;
  };
  const files = { ca: read("ca.pem"), cert: read("cert.pem"), key: read("key.pem") };
  if (Boolean(files.cert) !== Boolean(files.key)) {
    const missing = files.cert ? "key.pem" : "cert.pem";
    throw new Error(
      `Reading the TLS files in ${folder}: ${missing} is missing. Put it there, or remove its counterpart.`,
    );
  }
  return files.ca || files.cert ? files : undefined;
}

function findDockerEndpoint(meta: {
  [key: string]: unknown;
}): { host: string; skipVerify: boolean } | undefined {
  const endpoints = meta.Endpoints as { docker?: { Host?: unknown; SkipTLSVerify?: unknown } } | undefined;
  const host = endpoints?.docker?.Host;
  if (typeof host !== "string" || host === "") return undefined;
  return { host, skipVerify: endpoints?.docker?.SkipTLSVerify === true };
}

function parseObject(path: string, text: string): { [key: string]: unknown } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Neither cause nor message of the parser: they quote the text, which may hold a password.
    throw new Error(`Reading ${path}: it is not valid JSON. Mend or remove the file.`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error(`Reading ${path}: it holds no JSON object. Mend or remove the file.`);
  }
  return value as { [key: string]: unknown };
}

function readText(what: string, path: string): string {
  return readBytes(what, path).toString("utf8");
}

function readBytes(what: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`Reading ${what} from ${path}: ${(error as Error).message}`, { cause: error });
  }
}
