import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from "node:http";
import type { Socket } from "node:net";
import { Readable, type Duplex } from "node:stream";
import type { Connector } from "./transport";

/** One request as it goes over the wire. */
export interface ExchangeOptions {
  method: string;
  path: string;
  headers: OutgoingHttpHeaders;
  /** A stream's pieces are sent before the next is asked for. */
  body?: string | Buffer | AsyncIterable<Uint8Array>;
  signal?: AbortSignal;
  /** How long the answer's headers may take; without it, as long as the engine likes. */
  timeoutMs?: number;
}

/** What came back: headers with the body still to be read, and the bare connection if it was upgraded. */
export interface Exchange {
  response: IncomingMessage;
  upgraded?: Duplex;
  /** Cuts the connection. To be called unless the body was read to its end. */
  cut(reason?: Error): void;
}

/** The caller's own stream failed, rather than the engine: passed on as it is. */
export class BodyError extends Error {
  override name = "BodyError";
}

/**
 * Sends a request and waits for the headers of the answer. An abort cuts the connection at once, also while the
 * body is being read. Rejects with the signal's reason, a BodyError, or the error of the connection.
 */
export async function exchange(connector: Connector, options: ExchangeOptions): Promise<Exchange> {
  for (;;) {
    options.signal?.throwIfAborted();
    const request = connector.request({
      method: options.method,
      path: options.path,
      headers: options.headers,
    });
    try {
      return await send(request, options);
    } catch (error) {
      if (!mayRepeat(request, options, error)) throw error;
    }
  }
}

/** An engine may close a kept connection just as a request goes out. Repeated is only what changes nothing. */
function mayRepeat(request: ClientRequest, { method, signal }: ExchangeOptions, error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  const broken = code === "ECONNRESET" || code === "EPIPE";
  return broken && request.reusedSocket && !signal?.aborted && (method === "GET" || method === "HEAD");
}

function send(request: ClientRequest, { body, signal, timeoutMs }: ExchangeOptions): Promise<Exchange> {
  return new Promise<Exchange>((resolve, reject) => {
    let answer: IncomingMessage | Duplex | undefined;
    const cut = (reason?: Error) => {
      // Destroying the request after its answer would only discard the body; the answer ends the connection.
      if (answer) answer.destroy(reason);
      request.destroy(reason);
    };
    const abort = () => cut(signal?.reason as Error);
    signal?.addEventListener("abort", abort, { once: true });
    const deadline =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => cut(new Error(`no answer in ${timeoutMs / 1000} s`)), timeoutMs);
    const settle = () => clearTimeout(deadline);
    const release = () => signal?.removeEventListener("abort", abort);

    request.on("error", (error) => {
      settle();
      release();
      reject(signal?.aborted ? (signal.reason as Error) : error);
    });
    request.once("response", (response) => {
      settle();
      answer = response;
      response.once("close", release);
      resolve({ response, cut });
    });
    request.once("upgrade", (response: IncomingMessage, socket: Socket, head: Buffer) => {
      settle();
      answer = socket;
      if (head.length > 0) socket.unshift(head);
      // Who reads the connection is told of its errors; until then nobody listens, which would end the process.
      socket.on("error", () => undefined);
      socket.once("close", release);
      resolve({ response, upgraded: socket, cut });
    });
    if (body === undefined || typeof body === "string" || Buffer.isBuffer(body)) request.end(body);
    else void sendStream(request, body, cut);
  });
}

async function sendStream(
  request: ClientRequest,
  body: AsyncIterable<Uint8Array>,
  cut: (reason: Error) => void,
): Promise<void> {
  let goOn = (): void => undefined;
  request.once("close", () => goOn());
  // One that is left by its own iterator calls that an error.
  const chunks = (body instanceof Readable ? body.iterator({ destroyOnReturn: false }) : body) as typeof body;
  try {
    for await (const chunk of chunks) {
      // The engine may refuse before it has read everything: then nobody needs the rest.
      if (request.destroyed) return;
      await new Promise<void>((resolve) => {
        goOn = resolve;
        request.write(chunk, () => resolve());
      });
    }
    request.end();
  } catch (error) {
    cut(new BodyError((error as Error).message, { cause: error }));
  } finally {
    if (body instanceof Readable) body.destroy();
  }
}
