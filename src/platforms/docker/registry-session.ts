import type { Credentials } from "./credentials";
import { hubDomain, type Reference } from "./reference";

/** Who asks a registry, and for how long. */
export interface RegistryOptions {
  credentials?: Credentials;
  signal?: AbortSignal;
  /** How long each answer may take. Default: 30,000. */
  timeoutMs?: number;
}

/** A registry refused, failed or did not answer: it is not known whether the image is there. */
export class RegistryError extends Error {
  override name = "RegistryError";
  /** The HTTP status; absent if there was no answer. */
  readonly status?: number;

  constructor(attempt: string, reason: string, status?: number, options?: ErrorOptions) {
    super(`${attempt}: ${reason}.`, options);
    this.status = status;
  }
}

const defaultTimeoutMs = 30_000;

/** Where Docker Hub's registry is; its domain is only a name. */
const hubRegistry = "registry-1.docker.io";

/**
 * The requests of one call to one repository. Logs in when the registry asks for it, as it asks for it, and
 * keeps the token for the next request.
 */
export class RegistrySession {
  readonly #attempt: string;
  readonly #base: string;
  readonly #options: RegistryOptions;
  #authorization?: string;

  constructor(reference: Reference, attempt: string, options: RegistryOptions) {
    const { domain } = reference;
    this.#attempt = attempt;
    this.#base = `${isLocal(domain) ? "http" : "https"}://${domain === hubDomain ? hubRegistry : domain}`;
    this.#options = options;
  }

  /** The registry's answer, whatever its status; after a challenge, the answer to the second try. */
  async send(method: string, path: string, headers: { [name: string]: string }): Promise<Response> {
    const sendOnce = () => {
      const authorization = this.#authorization && { authorization: this.#authorization };
      return this.#fetch(this.#base + path, { method, headers: { ...headers, ...authorization } });
    };
    const response = await sendOnce();
    if (response.status !== 401 || this.#authorization) return response;
    await response.body?.cancel();
    const authorization = await this.#logIn(response.headers.get("www-authenticate") ?? "");
    if (!authorization) throw this.#refuse(401);
    this.#authorization = authorization;
    return sendOnce();
  }

  /** The whole body, within the deadline of its request. */
  async readBody(response: Response): Promise<ArrayBuffer> {
    try {
      return await response.arrayBuffer();
    } catch (error) {
      throw this.#explainFailure(error);
    }
  }

  /** The error for an answer that tells nothing about the image. */
  async explain(response: Response): Promise<RegistryError> {
    if (response.status === 401 || response.status === 403) return this.#refuse(response.status);
    const text = Buffer.from(await this.readBody(response)).toString("utf8");
    const reason = text.trim().replace(/\s+/g, " ").slice(0, 300);
    return new RegistryError(
      this.#attempt,
      `${this.#base} answered ${response.status}${reason && `: ${reason}`}`,
      response.status,
    );
  }

  #refuse(status: number): RegistryError {
    const who = this.#options.credentials
      ? "refused the credentials, or they do not reach this image"
      : "wants credentials. Log in with `docker login`, or give `registryAuth`";
    return new RegistryError(this.#attempt, `${this.#base} ${who} (HTTP ${status})`, status);
  }

  async #logIn(challenge: string): Promise<string | undefined> {
    const { credentials } = this.#options;
    const [scheme = ""] = challenge.split(" ");
    if (scheme.toLowerCase() === "basic") return credentials?.username ? makeBasic(credentials) : undefined;
    if (scheme.toLowerCase() !== "bearer") return undefined;
    const { realm, service, scope } = readParameters(challenge);
    if (!realm || !URL.canParse(realm)) return undefined;
    const url = new URL(realm);
    if (credentials && url.protocol !== "https:" && !isLocal(url.host)) {
      const reason = `${this.#base} asks to send the credentials to ${realm}, which is not encrypted`;
      throw new RegistryError(this.#attempt, reason, 401);
    }
    const response = await this.#requestToken(url, { ...(service && { service }), ...(scope && { scope }) });
    if (response.status === 401 || response.status === 403) throw this.#refuse(response.status);
    if (!response.ok) throw await this.explain(response);
    const text = Buffer.from(await this.readBody(response)).toString("utf8");
    return `Bearer ${readToken(text) ?? ""}`;
  }

  #requestToken(url: URL, parameters: { service?: string; scope?: string }): Promise<Response> {
    const { credentials } = this.#options;
    if (credentials?.identityToken) {
      const form = {
        grant_type: "refresh_token",
        client_id: "pulumi-kiln",
        refresh_token: credentials.identityToken,
      };
      return this.#fetch(url, { method: "POST", body: new URLSearchParams({ ...form, ...parameters }) });
    }
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    return this.#fetch(url, {
      headers: credentials?.username ? { authorization: makeBasic(credentials) } : {},
    });
  }

  async #fetch(url: string | URL, init: RequestInit): Promise<Response> {
    const { signal, timeoutMs = defaultTimeoutMs } = this.#options;
    signal?.throwIfAborted();
    const deadline = AbortSignal.timeout(timeoutMs);
    try {
      return await fetch(url, { ...init, signal: signal ? AbortSignal.any([signal, deadline]) : deadline });
    } catch (error) {
      throw this.#explainFailure(error);
    }
  }

  #explainFailure(error: unknown): unknown {
    const { signal, timeoutMs = defaultTimeoutMs } = this.#options;
    if (signal?.aborted) return signal.reason;
    const { name, message, cause } = error as Error;
    // fetch says only "fetch failed"; what happened is in its cause, for several addresses in the cause's list.
    const inner = cause as (NodeJS.ErrnoException & { errors?: Error[] }) | undefined;
    const reason = inner?.message || inner?.errors?.[0]?.message || inner?.code || message;
    const what = name === "TimeoutError" ? `no answer in ${timeoutMs / 1000} s` : reason;
    return new RegistryError(this.#attempt, `${this.#base} cannot be reached: ${what}`, undefined, {
      cause: error,
    });
  }
}

function makeBasic({ username = "", password = "" }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

/** Reads `Bearer realm="…",service="…"`; a value may hold commas. */
function readParameters(challenge: string): { [name: string]: string | undefined } {
  const found = challenge.matchAll(/([a-z_]+)="([^"]*)"/gi);
  return Object.fromEntries([...found].map(([, name = "", value = ""]) => [name.toLowerCase(), value]));
}

function readToken(text: string): string | undefined {
  if (!text.startsWith("{")) return undefined;
  const { token, access_token: accessToken } = JSON.parse(text) as { token?: string; access_token?: string };
  return token ?? accessToken;
}

/** Docker, too, speaks plain HTTP only to registries of this machine. */
function isLocal(host: string): boolean {
  return /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d+)?$/i.test(host);
}
