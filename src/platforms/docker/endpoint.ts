import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { defaultPipe, defaultUnixSocket, parseAddress, redactAddress, type Transport } from "./address";
import {
  dockerConfigFolder,
  readDockerConfig,
  readDockerContext,
  readTlsFiles,
  type DockerHome,
  type TlsFiles,
} from "./docker-config";

/** The setting that decided which engine is used, in the words of messages. */
export type EndpointSource =
  | "option `host`"
  | "DOCKER_HOST"
  | "DOCKER_CONTEXT"
  | "`currentContext` of Docker's config.json"
  | "Docker's default";

/** One engine's place, found without connecting to it. */
export interface Endpoint {
  /** As Docker writes it, for messages and outputs, such as `unix:///var/run/docker.sock`. */
  address: string;
  /** Whether a setting named this engine; false when it is where Docker usually listens. */
  explicit: boolean;
  source: EndpointSource;
  transport: Transport;
}

/** What decides the endpoint; the defaults are this process's own. */
export interface EndpointOptions {
  /** The resource's option `host`: it wins over all else. */
  host?: string;
  env?: NodeJS.ProcessEnv;
  home?: string;
  platform?: NodeJS.Platform;
  /** Tells whether a socket is there. */
  exists?: (path: string) => boolean;
}

/**
 * Finds the engine that the `docker` command would use: the option, DOCKER_HOST, DOCKER_CONTEXT, the current
 * context, then the usual sockets. Connects to nothing; throws for a setting that cannot be understood.
 */
export function findEndpoint(options: EndpointOptions = {}): Endpoint {
  const { host, env = process.env, home = homedir() } = options;
  const where: DockerHome = { env, home };
  if (host) return makeEndpoint(host, "option `host`", () => findEnvironmentTls(where));
  if (env.DOCKER_HOST) return makeEndpoint(env.DOCKER_HOST, "DOCKER_HOST", () => findEnvironmentTls(where));
  if (env.DOCKER_CONTEXT) return findContext(env.DOCKER_CONTEXT, "DOCKER_CONTEXT", where, options);
  const current = readDockerConfig(where).currentContext;
  if (current) return findContext(current, "`currentContext` of Docker's config.json", where, options);
  return findDefault(where, options);
}

function findContext(
  name: string,
  source: EndpointSource,
  where: DockerHome,
  options: EndpointOptions,
): Endpoint {
  // The context "default" is not stored: it is whatever Docker does without one.
  if (name === "default") return findDefault(where, options);
  try {
    const context = readDockerContext(name, where);
    return makeEndpoint(context.host, source, () => context.tls);
  } catch (error) {
    throw new Error(`${(error as Error).message} The context is named by ${source}.`, { cause: error });
  }
}

function findDefault({ env, home }: DockerHome, options: EndpointOptions): Endpoint {
  const { platform = process.platform, exists = existsSync } = options;
  if (platform === "win32") return makeEndpoint(`npipe://${defaultPipe}`, "Docker's default");
  const runtime = env.XDG_RUNTIME_DIR;
  const sockets = [
    defaultUnixSocket,
    join(home, ".docker", "run", "docker.sock"),
    ...(runtime ? [join(runtime, "docker.sock"), join(runtime, "podman", "podman.sock")] : []),
    "/run/podman/podman.sock",
  ];
  // With no socket at all, the error should speak of the one that everybody knows.
  return makeEndpoint(
    `unix://${sockets.find((path) => exists(path)) ?? defaultUnixSocket}`,
    "Docker's default",
  );
}

function makeEndpoint(given: string, source: EndpointSource, findTls?: () => TlsFiles | undefined): Endpoint {
  const text = given.trim();
  const address = redactAddress(text);
  try {
    const transport = parseAddress(text, findTls);
    return {
      address: text.includes("://") ? text : `tcp://${text}`,
      explicit: source !== "Docker's default",
      source,
      transport,
    };
  } catch (error) {
    throw new Error(`Reading the engine's address "${address}" (${source}): ${(error as Error).message}.`, {
      cause: error,
    });
  }
}

/** TLS as the `docker` command takes it from the environment: any value of the two switches counts, even "0". */
function findEnvironmentTls(where: DockerHome): TlsFiles | undefined {
  const { DOCKER_TLS_VERIFY, DOCKER_TLS, DOCKER_CERT_PATH } = where.env;
  if (!DOCKER_TLS_VERIFY && !DOCKER_TLS) return undefined;
  const files = readTlsFiles(DOCKER_CERT_PATH || dockerConfigFolder(where));
  if (!files && DOCKER_CERT_PATH) {
    throw new Error(`DOCKER_CERT_PATH is ${DOCKER_CERT_PATH}, where there is no ca.pem, cert.pem or key.pem`);
  }
  return { ...files, skipVerify: !DOCKER_TLS_VERIFY };
}
