import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Endpoint } from "../../../src/platforms/docker/endpoint";

/** Answers one request of the fake; the ping is answered without it. */
export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** An HTTP server on a socket of its own that pings like Docker and answers the rest as the test says. */
export class FakeEngine {
  /** "GET /v1.41/info", in the order of arrival. */
  readonly requests: string[] = [];
  connections = 0;
  apiVersion: string | undefined = "1.41";
  answer: Answer = (_request, response) => response.writeHead(404).end();
  /** Takes over a connection that asks for an upgrade; `socket` is past the answer's headers. */
  onUpgrade: (socket: Duplex) => void = (socket) => socket.end();
  readonly endpoint: Endpoint;
  readonly socketPath: string;
  readonly #server: Server;
  readonly #upgraded: Duplex[] = [];
  readonly #folder: string;

  private constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), "kiln-engine-"));
    this.socketPath = join(this.#folder, "e.sock");
    this.endpoint = makeEndpoint(this.socketPath);
    this.#server = createServer((request, response) => this.#handle(request, response));
    this.#server.on("connection", () => (this.connections += 1));
    this.#server.on("upgrade", (request, socket) => {
      this.requests.push(`${request.method} ${request.url}`);
      socket.write("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
      // A broken connection is what some tests are about; and unread, its end would never be seen.
      socket.on("error", () => undefined).resume();
      this.#upgraded.push(socket);
      this.onUpgrade(socket);
    });
  }

  static async start(): Promise<FakeEngine> {
    const engine = new FakeEngine();
    await new Promise<void>((resolve) => engine.#server.listen(engine.socketPath, resolve));
    return engine;
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    for (const socket of this.#upgraded) socket.destroy();
    await closed;
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    this.requests.push(`${request.method} ${request.url}`);
    if (request.url !== "/_ping") return this.answer(request, response);
    const version = this.apiVersion && { "Api-Version": this.apiVersion };
    response.writeHead(200, { ...version, OSType: "linux", "Content-Length": "0" }).end();
  }
}

/** An endpoint that Docker's default would give, at another path. */
export function makeEndpoint(path: string): Endpoint {
  return {
    address: `unix://${path}`,
    explicit: true,
    source: "DOCKER_HOST",
    transport: { kind: "socket", path },
  };
}

/** A frame of the multiplexed output. */
export function makeFrame(channel: number, text: string): Buffer {
  const bytes = Buffer.from(text);
  const header = Buffer.alloc(8);
  header[0] = channel;
  header.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([header, bytes]);
}
