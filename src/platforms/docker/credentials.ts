import { spawn } from "node:child_process";
import { homedir } from "node:os";
import { dockerConfigFolder, readDockerConfig, type DockerHome, type StoredAuth } from "./docker-config";
import { hubDomain } from "./reference";

/** What opens a registry: a user's password, or an identity token that stands for both. */
export interface Credentials {
  /** The registry as Docker names it in its settings; for Docker Hub that is an address with a path. */
  serverAddress: string;
  username?: string;
  password?: string;
  identityToken?: string;
}

/** One entry of the option `registryAuth`; without `server` it is for Docker Hub. */
export interface ExplicitAuth {
  server?: string;
  username: string;
  password: string;
}

/** Where credentials may come from; the defaults are this process's own. */
export interface CredentialSources {
  /** The option `registryAuth`: an entry for the registry wins over Docker's settings. */
  explicit?: readonly ExplicitAuth[];
  env?: NodeJS.ProcessEnv;
  home?: string;
  signal?: AbortSignal;
}

/** Docker Hub's key in Docker's settings, older than the present form of its API. */
const hubKey = "https://index.docker.io/v1/";
const hubNames = new Set([hubDomain, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"]);

/** A helper's user name for "the secret is an identity token". */
const tokenUser = "<token>";

/**
 * Finds what opens a registry (its host and port): the resource's own entry, then a credential helper for this
 * registry, then the helper for all, then what `docker login` stored in the file. undefined: nobody knows any,
 * so the registry is to be asked without. Throws if a helper fails.
 */
export async function findCredentials(
  registry: string,
  { explicit = [], env = process.env, home = homedir(), signal }: CredentialSources = {},
): Promise<Credentials | undefined> {
  const name = normalizeRegistry(registry);
  const serverAddress = name === hubDomain ? hubKey : name;
  const own = explicit.find((auth) => normalizeRegistry(auth.server ?? hubDomain) === name);
  if (own) return { serverAddress, username: own.username, password: own.password };
  const where = { env, home };
  const config = readDockerConfig(where);
  const helper = lookUp(config.credHelpers, name) ?? config.credsStore;
  // As with the docker command, a helper that knows nothing is the last word.
  if (helper) return askHelper(helper, serverAddress, where, signal);
  const stored = lookUp(config.auths, name);
  return stored && readStoredAuth(stored, serverAddress, where);
}

/** The value of the header X-Registry-Auth. The engine insists on the padding that base64url usually lacks. */
export function encodeRegistryAuth(credentials: Credentials): string {
  const { username, password, identityToken, serverAddress } = credentials;
  const text = JSON.stringify({
    username,
    password,
    identitytoken: identityToken,
    serveraddress: serverAddress,
  });
  return Buffer.from(text).toString("base64").replaceAll("+", "-").replaceAll("/", "_");
}

/** Settings name a registry by its host, or by an address with a path; Docker Hub goes by several names. */
function normalizeRegistry(registry: string): string {
  const host = registry
    .replace(/^https?:\/\//, "")
    .replace(/\/.*$/s, "")
    .toLowerCase();
  return hubNames.has(host) ? hubDomain : host;
}

function lookUp<T>(entries: { [registry: string]: T } | undefined, name: string): T | undefined {
  const found = Object.entries(entries ?? {}).filter(([key]) => normalizeRegistry(key) === name);
  // The plain name wins over an address with a path, which may be a relic of an older login.
  return (found.find(([key]) => key === name || key === hubKey) ?? found[0])?.[1];
}

function readStoredAuth(
  stored: StoredAuth,
  serverAddress: string,
  where: DockerHome,
): Credentials | undefined {
  const { username, password } = stored.auth ? decodeAuth(stored.auth, serverAddress, where) : stored;
  const identityToken = stored.identitytoken || undefined;
  if (identityToken) return { serverAddress, username, identityToken };
  // With a helper, Docker leaves empty entries here that only say "logged in".
  return username ? { serverAddress, username, password: password ?? "" } : undefined;
}

function decodeAuth(
  auth: string,
  serverAddress: string,
  where: DockerHome,
): { username: string; password: string } {
  const text = Buffer.from(auth, "base64").toString("utf8");
  const colon = text.indexOf(":");
  if (colon < 1) {
    throw new Error(
      `Reading the credentials of ${serverAddress} in ${dockerConfigFolder(where)}: \`auth\` is not base64 of ` +
        "user:password. Log in again with `docker login`.",
    );
  }
  // Some old logins padded the password with zero bytes.
  return { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, "") };
}

async function askHelper(
  helper: string,
  serverAddress: string,
  { env }: DockerHome,
  signal?: AbortSignal,
): Promise<Credentials | undefined> {
  const program = `docker-credential-${helper}`;
  const attempt = `Asking ${program} for the credentials of ${serverAddress}`;
  if (!/^[\w.-]+$/.test(helper)) {
    throw new Error(`${attempt}: "${helper}" is no valid name of a helper. Mend it in Docker's config.json.`);
  }
  const { code, stdout, stderr } = await runHelper(program, attempt, serverAddress, env, signal);
  // Helpers write this reason to stdout, some to stderr.
  if (code !== 0 && /credentials not found/i.test(stdout + stderr)) return undefined;
  if (code !== 0) {
    const reason = stderr.trim().slice(0, 300);
    throw new Error(
      `${attempt}: it ended with ${code}${reason && `: ${reason}`}. Run it by hand, or log in again.`,
    );
  }
  const answer = parseAnswer(stdout, attempt);
  if (!answer.Secret) return undefined;
  if (answer.Username === tokenUser) return { serverAddress, identityToken: answer.Secret };
  return { serverAddress, username: answer.Username ?? "", password: answer.Secret };
}

function runHelper(
  program: string,
  attempt: string,
  input: string,
  env: NodeJS.ProcessEnv,
  signal?: AbortSignal,
): Promise<{ code: string | number; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const child = spawn(program, ["get"], { env, signal, stdio: "pipe", windowsHide: true });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
    // A helper that ends without reading says why by its exit code.
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
    child.on("error", (error: NodeJS.ErrnoException) => {
      if (signal?.aborted) reject(signal.reason as Error);
      else reject(new Error(`${attempt}: ${explainSpawn(error)}`, { cause: error }));
    });
    child.on("close", (code, killedBy) => {
      const [out, err] = [stdout, stderr].map((chunks) => Buffer.concat(chunks).toString("utf8"));
      resolve({ code: code ?? killedBy ?? "no code", stdout: out ?? "", stderr: err ?? "" });
    });
  });
}

function explainSpawn(error: NodeJS.ErrnoException): string {
  if (error.code !== "ENOENT") return error.message;
  return "the program is not on the PATH. Install it, or take it out of Docker's config.json.";
}

function parseAnswer(stdout: string, attempt: string): { Username?: string; Secret?: string } {
  try {
    return JSON.parse(stdout) as { Username?: string; Secret?: string };
  } catch {
    // Neither cause nor message of the parser: they quote the answer, which is the secret.
    throw new Error(`${attempt}: its answer is not valid JSON. Run it by hand, or log in again.`);
  }
}
