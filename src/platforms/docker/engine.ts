import { once } from "node:events";
import { Readable } from "node:stream";
import type { Endpoint } from "./endpoint";
import { EngineError } from "./engine-error";
import {
  attemptOf,
  callEngine,
  explainBreak,
  explainRefusal,
  statusOf,
  type EngineReply,
  type EngineRequest,
} from "./engine-request";
import { BodyError, type Exchange } from "./exchange";
import { FormatError, splitFrames, splitJsonLines, type OutputCallback } from "./frames";
import { openConnector, type Connector } from "./transport";

/** The newest API version whose answers this package knows; engines of Docker 19.03 and later have 1.40. */
const newestApiVersion = "1.47";
const oldestApiVersion = "1.40";

const cannotUpgrade =
  "something between here and the engine cannot upgrade connections, so no input can be sent. " +
  "Connect to the engine directly";

/** A call whose connection becomes a two-way stream, as `/exec/{id}/start` does. */
export interface AttachRequest {
  attempt?: string;
  path: string;
  body?: unknown;
  /** Sent to the process; its end is the process's end of input. Destroyed when the process is done with it. */
  stdin?: Readable;
  onStdout: OutputCallback;
  onStderr: OutputCallback;
  signal?: AbortSignal;
}

/**
 * A connection to one Docker-compatible engine. Every method rejects with the signal's reason once that is
 * aborted, an EngineError if the engine refuses, an EngineUnreachableError if it does not answer.
 */
export class Engine {
  readonly endpoint: Endpoint;
  /** The version spoken, such as "1.41". */
  readonly apiVersion: string;
  /** The engine's own word for its containers' system: "linux" or "windows". */
  readonly osType: string;
  readonly #connector: Connector;

  /** Made by `connectEngine`, which has asked the engine for these. */
  constructor(endpoint: Endpoint, connector: Connector, apiVersion: string, osType: string) {
    this.endpoint = endpoint;
    this.apiVersion = apiVersion;
    this.osType = osType;
    this.#connector = connector;
  }

  /** Calls, and reads the whole answer: parsed if it is JSON, else its text; undefined if it is empty. */
  async request<Body = unknown, Meaning extends string = string>(
    request: EngineRequest<Meaning>,
  ): Promise<EngineReply<Body, Meaning>> {
    const { meaning, answer } = await this.#call(request);
    const text = await this.#readText(answer, request);
    const isJson = answer.response.headers["content-type"]?.includes("json");
    const body = (text === "" ? undefined : isJson ? parseJson(text, request, answer) : text) as Body;
    return { status: statusOf(answer), meaning, headers: answer.response.headers, body };
  }

  /** Calls, and hands over the answer's bytes as they come. Read them to the end, or destroy them. */
  async stream<Meaning extends string = string>(
    request: EngineRequest<Meaning>,
  ): Promise<EngineReply<Readable, Meaning>> {
    const { meaning, answer } = await this.#call(request);
    const body = Readable.from(this.#readChunks(answer, request), { objectMode: false });
    body.once("close", () => {
      if (!answer.response.readableEnded) answer.cut();
    });
    return { status: statusOf(answer), meaning, headers: answer.response.headers, body };
  }

  /**
   * Calls one of the endpoints that report progress line by line (pull, push, load, import), and resolves when
   * it has ended. Such a call answers 200 before it has done anything: a failure comes inside the stream, and
   * rejects here.
   */
  async followProgress(
    request: EngineRequest,
    onMessage: (message: { [key: string]: unknown }) => void = () => undefined,
  ): Promise<void> {
    const { answer } = await this.#call(request);
    try {
      for await (const message of splitJsonLines(this.#readChunks(answer, request))) {
        if (message.error !== undefined) throw new FormatError(progressError(message));
        onMessage(message);
      }
    } catch (error) {
      answer.cut();
      throw explainFormat(error, request, answer);
    }
  }

  /**
   * Runs what is attached to, and resolves when its output has ended. The callbacks hold the process back while
   * their promises are pending. How the process ended is to be asked for afterwards: a connection that the
   * engine dropped looks like an end.
   */
  async attach(request: AttachRequest): Promise<void> {
    const headers = { Connection: "Upgrade", Upgrade: "tcp" };
    const call: EngineRequest = {
      ...request,
      method: "POST",
      headers,
      expect: { 101: "upgraded", 200: "plain" },
    };
    const { answer } = await this.#call(call);
    const { upgraded } = answer;
    try {
      if (request.stdin) {
        if (!upgraded) throw new FormatError(cannotUpgrade);
        request.stdin.once("error", (error) => answer.cut(new BodyError(error.message, { cause: error })));
        request.stdin.pipe(upgraded);
      }
      for await (const { channel, chunk } of splitFrames(this.#readChunks(answer, call))) {
        if (channel === "system") throw new FormatError(chunk.toString());
        await (channel === "stderr" ? request.onStderr(chunk) : request.onStdout(chunk));
      }
    } catch (error) {
      throw explainFormat(error, call, answer);
    } finally {
      answer.cut();
      request.stdin?.destroy();
    }
  }

  /** Ends the kept connections. A process may also just end: idle connections do not hold it. */
  close(): void {
    this.#connector.close();
  }

  async #call<Meaning extends string>(
    request: EngineRequest<Meaning>,
  ): Promise<{ meaning: Meaning; answer: Exchange }> {
    const answer = await callEngine(this.#connector, this.endpoint, `/v${this.apiVersion}`, request);
    const status = statusOf(answer);
    const { expect } = request;
    const meaning = expect ? expect[status] : status >= 200 && status < 300 ? ("ok" as Meaning) : undefined;
    if (meaning !== undefined) return { meaning, answer };
    const text = await this.#readText(answer, request);
    // The engine may have refused an upload halfway: the rest of it must not go on.
    answer.cut();
    throw new EngineError(attemptOf(request), explainRefusal(text, status), status);
  }

  async #readText(answer: Exchange, request: EngineRequest): Promise<string> {
    const chunks: Buffer[] = [];
    for await (const chunk of this.#readChunks(answer, request)) chunks.push(chunk);
    return Buffer.concat(chunks).toString("utf8");
  }

  async *#readChunks(answer: Exchange, request: EngineRequest): AsyncGenerator<Buffer> {
    try {
      yield* (answer.upgraded ?? answer.response) as AsyncIterable<Buffer>;
    } catch (error) {
      // The process ended without reading all of its input; what it printed came before.
      if (answer.upgraded && (error as NodeJS.ErrnoException).code === "EPIPE") return;
      throw explainBreak(request, this.endpoint, error);
    }
  }
}

/**
 * Connects to the engine and agrees on an API version: the newest that both know, since old engines refuse new
 * versions and new engines old ones. `timeoutMs` (default 10,000) is how long the engine may take to answer.
 */
export async function connectEngine(
  endpoint: Endpoint,
  { signal, timeoutMs = 10_000 }: { signal?: AbortSignal; timeoutMs?: number } = {},
): Promise<Engine> {
  const connector = openConnector(endpoint.transport);
  try {
    const request: EngineRequest = {
      attempt: "Connecting to Docker",
      method: "HEAD",
      path: "/_ping",
      signal,
    };
    const answer = await callEngine(connector, endpoint, "", request, timeoutMs);
    // A HEAD has no body to wait for, but only an ended answer gives its connection back to the pool.
    await once(answer.response.resume(), "end");
    const { "api-version": apiVersion, ostype } = answer.response.headers;
    const version = agreeOnVersion(endpoint, statusOf(answer), apiVersion?.toString());
    return new Engine(endpoint, connector, version, ostype?.toString() ?? "linux");
  } catch (error) {
    connector.close();
    throw error;
  }
}

function agreeOnVersion(endpoint: Endpoint, status: number, offered: string | undefined): string {
  const attempt = "Connecting to Docker";
  if (status !== 200 || !offered || !/^\d+\.\d+$/.test(offered)) {
    const what = status === 200 ? "names no API version" : `answers ${status} to a ping`;
    throw new EngineError(
      attempt,
      `${endpoint.address} (${endpoint.source}) ${what}. Is it a Docker engine?`,
      status,
    );
  }
  if (compareVersions(offered, oldestApiVersion) < 0) {
    throw new EngineError(
      attempt,
      `the engine speaks API ${offered}, which is too old. Install Docker 19.03 or newer`,
      status,
    );
  }
  return compareVersions(offered, newestApiVersion) < 0 ? offered : newestApiVersion;
}

function compareVersions(left: string, right: string): number {
  const [a = [], b = []] = [left, right].map((version) => version.split(".").map(Number));
  return (a[0] ?? 0) - (b[0] ?? 0) || (a[1] ?? 0) - (b[1] ?? 0);
}

function parseJson(text: string, request: EngineRequest, answer: Exchange): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Neither cause nor message of the parser: they quote the answer, which may hold a container's environment.
    throw new EngineError(attemptOf(request), "the engine's answer is not valid JSON", statusOf(answer));
  }
}

function explainFormat(error: unknown, request: EngineRequest, answer: Exchange): unknown {
  if (!(error instanceof FormatError)) return error;
  return new EngineError(attemptOf(request), error.message, statusOf(answer), { cause: error });
}

function progressError({ error, errorDetail }: { error?: unknown; errorDetail?: unknown }): string {
  return (errorDetail as { message?: string } | undefined)?.message ?? String(error);
}
