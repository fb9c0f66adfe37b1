/** The small HTTP server from which a machine that boots fetches its answer file, packages or certificates. */
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

export interface HttpServerOptions {
  /** Absolute path; nothing outside of it is served, whatever links lead there. */
  folder?: string;
  /** Contents by path; they count more than files of the folder. */
  content?: Record<string, string | Buffer>;
  /** Default: "127.0.0.1" (Packer: 0.0.0.0). */
  bindAddress?: string;
  /** With `portMax`: the range from which a port is taken at random. Default: any free one. */
  portMin?: number;
  portMax?: number;
  /** Hears of each request, in one line. */
  log: (line: string) => void;
}

export interface HttpServer {
  port: number;
  /** Cuts what is under way. */
  close(): Promise<void>;
}

/** Serves a folder and contents by GET and HEAD, with ranges, until it is closed. */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const server = http.createServer((request, response) => void answer(request, response, options));
  await listen(server, options);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function listen(server: http.Server, options: HttpServerOptions): Promise<void> {
  const { bindAddress = "127.0.0.1", portMin, portMax } = options;
  if (portMin === undefined && portMax === undefined) return tryPort(server, bindAddress, 0);
  const [first, last] = [portMin ?? portMax ?? 0, portMax ?? portMin ?? 0];
  const count = last - first + 1;
  // Beginning at random, so that builds in parallel seldom ask for the same one.
  const start = Math.floor(Math.random() * count);
  for (let step = 0; step < count; step++) {
    try {
      return await tryPort(server, bindAddress, first + ((start + step) % count));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    }
  }
  throw new Error(`Serving files by HTTP on ${bindAddress}: no port from ${first} to ${last} is free.`);
}

async function tryPort(server: http.Server, address: string, port: number): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, address, () => {
        server.off("error", reject);
        resolve();
      });
    });
  } catch (error) {
    const failure = error as NodeJS.ErrnoException;
    throw Object.assign(
      new Error(`Serving files by HTTP on ${address}:${port}: ${failure.message}`, { cause: error }),
      { code: failure.code },
    );
  }
}

interface Found {
  sizeBytes: number;
  open(start: number, end: number): Readable;
}

async function answer(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  options: HttpServerOptions,
): Promise<void> {
  const name = readName(request.url ?? "/");
  const client = request.socket.remoteAddress ?? "gone";
  let failure = "";
  try {
    if (request.method !== "GET" && request.method !== "HEAD")
      response.writeHead(405, { allow: "GET, HEAD" }).end();
    else {
      const found = name === undefined ? undefined : await find(name, options);
      if (found) await send(request, response, found);
      else response.writeHead(404, { "content-type": "text/plain" }).end("not found\n");
    }
  } catch (error) {
    failure = `, ${(error as Error).message}`;
    if (!response.headersSent) response.writeHead(500).end();
    response.destroy();
  }
  // The path alone: what a machine puts behind "?" may be a secret.
  const shown = name ?? "(no path)";
  options.log(`${request.method} ${shown}: ${response.statusCode}${failure} (${client})`);
}

/** Undefined for what cannot be a path; "." and ".." are dissolved here, so nothing stands above the root. */
function readName(url: string): string | undefined {
  try {
    const name = decodeURIComponent(url.split(/[?#]/)[0] ?? "");
    if (name.includes("\0") || name.includes("\\")) return undefined;
    return path.posix.normalize(`/${name}`);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

async function find(name: string, { content = {}, folder }: HttpServerOptions): Promise<Found | undefined> {
  const given = Object.entries(content).find(([key]) => path.posix.normalize(`/${key}`) === name)?.[1];
  if (given !== undefined) {
    const bytes = Buffer.from(given);
    return {
      sizeBytes: bytes.length,
      open: (start, end) => Readable.from([bytes.subarray(start, end + 1)], { objectMode: false }),
    };
  }
  return folder === undefined ? undefined : findFile(name, folder);
}

async function findFile(name: string, folder: string): Promise<Found | undefined> {
  try {
    const root = await fs.promises.realpath(folder);
    const file = await fs.promises.realpath(path.join(root, name));
    const inside = path.relative(root, file);
    if (inside.split(path.sep)[0] === ".." || path.isAbsolute(inside)) return undefined;
    const stats = await fs.promises.stat(file);
    if (!stats.isFile()) return undefined;
    return {
      sizeBytes: stats.size,
      // An empty file has no last byte.
      open: (start, end) =>
        end < start
          ? Readable.from([])
          : fs.createReadStream(file, { start, end, highWaterMark: 1024 * 1024 }),
    };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP" || code === "ENAMETOOLONG")
      return undefined;
    throw error;
  }
}

async function send(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  found: Found,
): Promise<void> {
  const { sizeBytes } = found;
  const range = readRange(request.headers.range, sizeBytes);
  if (range === "unsatisfiable") {
    response.writeHead(416, { "content-range": `bytes */${sizeBytes}` }).end();
    return;
  }
  const { start, end } = range ?? { start: 0, end: sizeBytes - 1 };
  response.writeHead(range ? 206 : 200, {
    "accept-ranges": "bytes",
    "content-length": end - start + 1,
    "content-type": "application/octet-stream",
    ...(range ? { "content-range": `bytes ${start}-${end}/${sizeBytes}` } : {}),
  });
  if (request.method === "HEAD") response.end();
  else await pipeline(found.open(start, end), response);
}

/** One range; several, or what is not understood, are answered with the whole, as the protocol allows. */
function readRange(
  header: string | undefined,
  sizeBytes: number,
): { start: number; end: number } | "unsatisfiable" | undefined {
  const [, first = "", last = ""] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === "" && last === "") return undefined;
  if (first === "") {
    const length = Math.min(Number(last), sizeBytes);
    return length === 0 ? "unsatisfiable" : { start: sizeBytes - length, end: sizeBytes - 1 };
  }
  const [start, end] = [Number(first), last === "" ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1)];
  if (last !== "" && Number(last) < start) return undefined;
  return start >= sizeBytes ? "unsatisfiable" : { start, end };
}
