import type { OutgoingHttpHeaders } from "node:http";
import type { Endpoint } from "./endpoint";
import { EngineUnreachableError } from "./engine-error";
import { BodyError, exchange, type Exchange, type ExchangeOptions } from "./exchange";
import type { Connector } from "./transport";

/** A value of a query: objects are sent as JSON (filters), lists as repeated keys, undefined not at all. */
export type QueryValue =
  string | number | boolean | undefined | readonly string[] | { [key: string]: unknown };

/** One call of the Engine API. */
export interface EngineRequest<Meaning extends string = string> {
  /** What is being done, to begin an error with: "Creating a container from python:3.9-slim". */
  attempt?: string;
  method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** Below the version, with parts that may hold anything encoded: `/containers/${encodeURIComponent(id)}/json`. */
  path: string;
  query?: { [key: string]: QueryValue };
  headers?: OutgoingHttpHeaders;
  /** A stream or bytes are sent as a tar archive (unless `headers` say otherwise), all else as JSON. */
  body?: unknown;
  signal?: AbortSignal;
  /** The statuses that are outcomes rather than failures, and what each means. Default: every 2xx is "ok". */
  expect?: { readonly [status: number]: Meaning };
}

/** An expected answer. */
export interface EngineReply<Body, Meaning extends string = string> {
  status: number;
  meaning: Meaning;
  headers: { [name: string]: string | string[] | undefined };
  body: Body;
}

/** Sends a call, and waits for the headers of whatever the engine answers. `prefix` is the version's. */
export async function callEngine(
  connector: Connector,
  endpoint: Endpoint,
  prefix: string,
  request: EngineRequest,
  timeoutMs?: number,
): Promise<Exchange> {
  const { method, path, query = {}, signal } = request;
  const { body, contentType } = encodeBody(request.body);
  const headers: OutgoingHttpHeaders = {
    ...(contentType && { "Content-Type": contentType }),
    ...request.headers,
  };
  if (typeof body === "string" || Buffer.isBuffer(body)) headers["Content-Length"] = Buffer.byteLength(body);
  try {
    return await exchange(connector, {
      method,
      path: prefix + path + encodeQuery(query),
      headers,
      body,
      signal,
      timeoutMs,
    });
  } catch (error) {
    throw explainBreak(request, endpoint, error);
  }
}

function encodeBody(body: unknown): { body?: ExchangeOptions["body"]; contentType?: string } {
  if (body === undefined) return {};
  if (Buffer.isBuffer(body) || isStream(body)) return { body, contentType: "application/x-tar" };
  return { body: JSON.stringify(body), contentType: "application/json" };
}

function isStream(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}

function encodeQuery(query: { [key: string]: QueryValue }): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined) continue;
    if (Array.isArray(value)) for (const item of value as string[]) search.append(key, item);
    else search.append(key, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return search.size > 0 ? `?${search.toString()}` : "";
}

/** The beginning of an error about a call. */
export function attemptOf({ attempt, method, path }: EngineRequest): string {
  return attempt ?? `${method} ${path}`;
}

/** The HTTP status, which only a request still under way lacks. */
export function statusOf({ response }: Exchange): number {
  return response.statusCode ?? 0;
}

/** What a call rejects with when its connection fails: the abort's reason, the caller's own failure, or ours. */
export function explainBreak(request: EngineRequest, endpoint: Endpoint, error: unknown): unknown {
  if (request.signal?.aborted) return request.signal.reason;
  if (error instanceof BodyError) return error.cause;
  return new EngineUnreachableError(attemptOf(request), endpoint, error);
}

/** The reason the engine gives. Docker answers `{ message }`; a proxy in between may answer anything. */
export function explainRefusal(text: string, status: number): string {
  let message = text.trim().slice(0, 500);
  try {
    message = (JSON.parse(text) as { message?: string }).message ?? message;
  } catch {
    // Not JSON: then the text is all there is to show.
  }
  return `${message || "the engine gave no reason"} (HTTP ${status})`;
}
