import type { Endpoint } from "./endpoint";

/** The engine answered, and said no: `status` is the HTTP status, or 200 if it failed halfway through a stream. */
export class EngineError extends Error {
  override name = "EngineError";
  readonly status: number;

  constructor(attempt: string, reason: string, status: number, options?: ErrorOptions) {
    super(`${attempt}: ${reason}`, options);
    this.status = status;
  }
}

/** The engine did not answer, or the connection broke: nothing is known about what it did. */
export class EngineUnreachableError extends Error {
  override name = "EngineUnreachableError";
  readonly address: string;

  constructor(attempt: string, endpoint: Endpoint, cause: unknown) {
    super(`${attempt}: ${explainFailure(endpoint, cause)}`, { cause });
    this.address = endpoint.address;
  }
}

/** Says why the engine could not be reached, from which setting its address came, and what to do. */
function explainFailure(endpoint: Endpoint, cause: unknown): string {
  const { address, source, transport } = endpoint;
  const where = `${address} (${source})`;
  const elsewhere =
    source === "Docker's default" ? "Or set DOCKER_HOST to another engine." : `Is ${source} what you meant?`;
  const { code, message } = describe(cause);
  switch (code) {
    case "ENOENT":
      return `there is no socket at ${where}. Start Docker. ${elsewhere}`;
    case "ECONNREFUSED":
      return `nothing listens at ${where}. Start Docker. ${elsewhere}`;
    case "EACCES":
    case "EPERM":
      return `this user may not open ${where}. Join the group docker (sudo usermod -aG docker $USER) and log in again. ${elsewhere}`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `the host of ${where} has no address. ${elsewhere}`;
    case "HPE_INVALID_CONSTANT":
      return `${where} does not answer in HTTP. Does it want TLS (DOCKER_TLS_VERIFY)?`;
    case "ECONNRESET":
    case "EPIPE":
    case "ERR_STREAM_PREMATURE_CLOSE":
      return `the connection to ${where} broke (${message}). Is the engine still running?${
        transport.kind === "tcp" && !transport.tls ? " Does it want TLS (DOCKER_TLS_VERIFY)?" : ""
      }`;
    default:
      return `${where} cannot be reached: ${message}. ${elsewhere}`;
  }
}

/** A host with several addresses fails with an AggregateError, whose own message is empty. */
function describe(cause: unknown): { code?: string; message: string } {
  const error = cause as NodeJS.ErrnoException & { errors?: NodeJS.ErrnoException[] };
  const first = error.errors?.[0] ?? error;
  return { code: error.code ?? first.code, message: (error.message || first.message).replace(/\.$/, "") };
}
