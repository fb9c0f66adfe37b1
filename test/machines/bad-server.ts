/** A file server that misbehaves as a test wants. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

export interface BadServer {
  url: string;
  /** What it serves now. */
  content: Buffer;
  etag: string | undefined;
  lastModified: string | undefined;
  /** How much of the file the client has; who cuts waits for it. */
  receivedBytes: number;
  /** What was asked, e.g. `GET /disk bytes=5-`. */
  requests: string[];
  /** Answers one request; true if it did. Requests that it does not want are answered as a good server does. */
  misbehave:
    ((request: http.IncomingMessage, response: http.ServerResponse, count: number) => boolean) | undefined;
}

/** Starts one; it ends with the test. */
export async function startBadServer(t: TestContext, content: Buffer): Promise<BadServer> {
  let count = 0;
  const server = http.createServer((request, response) => {
    const asked = [request.method, request.url, request.headers.range].filter((part) => part !== undefined);
    bad.requests.push(asked.join(" "));
    if (!bad.misbehave?.(request, response, count++)) answer(bad, request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => (server.closeAllConnections(), server.close()));
  const bad: BadServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/disk`,
    content,
    etag: '"1"',
    lastModified: undefined,
    receivedBytes: 0,
    requests: [],
    misbehave: undefined,
  };
  return bad;
}

/** As a good server does, up to `cutAfter` bytes of the body. */
export function answer(
  bad: BadServer,
  { headers }: http.IncomingMessage,
  response: http.ServerResponse,
  { cutAfter, ignoreRange = false }: { cutAfter?: number; ignoreRange?: boolean } = {},
): void {
  const { content, etag, lastModified } = bad;
  const versions = { ...(etag && { etag }), ...(lastModified && { "last-modified": lastModified }) };
  if (etag && headers["if-none-match"] === etag) return void response.writeHead(304, versions).end();
  if (lastModified && headers["if-modified-since"] === lastModified)
    return void response.writeHead(304, versions).end();
  const start = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0);
  const condition = headers["if-range"];
  const isPart =
    !ignoreRange &&
    start > 0 &&
    (condition === undefined || [etag, lastModified].includes(String(condition)));
  if (isPart && start >= content.length)
    return void response.writeHead(416, { "content-range": `bytes */${content.length}`, ...versions }).end();
  const body = isPart ? content.subarray(start) : content;
  response.writeHead(isPart ? 206 : 200, {
    "content-length": body.length,
    ...versions,
    ...(isPart ? { "content-range": `bytes ${start}-${content.length - 1}/${content.length}` } : {}),
  });
  if (cutAfter === undefined) response.end(body);
  else {
    const untilBytes = (isPart ? start : 0) + cutAfter;
    const cut = (): void => void (bad.receivedBytes >= untilBytes ? response.destroy() : setImmediate(cut));
    response.write(body.subarray(0, cutAfter), cut);
  }
}

/** In hexadecimal. */
export function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
