/**
 * Constant mixed load on one loopback address, in a process of its own, so that it is not slowed down by what it measures:
 * short requests, kept connections, downloads of 5 s, slow uploads, WebSockets. It ends by itself after a time, and after a
 * number of requests. As a program it talks to its parent: `stop` gives the report.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import * as http from "node:http";
import * as net from "node:net";
import { setTimeout as wait } from "node:timers/promises";

const LONGEST_MS = 20 * 60_000;
const MOST_REQUESTS = 2_000_000;
const SHORT_PER_SECOND = 350;
const KEPT_CONNECTIONS = 20;
const KEPT_PAUSE_MS = 40;
const DOWNLOADS = 3;
const DOWNLOAD_SECONDS = 5;
const UPLOADS = 3;
const UPLOAD_CHUNKS = 30;
const SOCKETS = 5;
const SOCKET_MESSAGES = 30;
const PAUSE_MS = 100;
/** A request that takes longer has failed. */
const REQUEST_MS = 60_000;

type Kind = "short" | "kept" | "download" | "upload" | "socket";

/** What a run of the load has seen. */
export interface LoadReport {
  seconds: number;
  requests: number;
  perSecond: number;
  failed: number;
  /** Begun after a newer version had answered, and answered by an older one. */
  stale: number;
  /** Of the lasting WebSockets, those that were closed by the other side. */
  lostSockets: number;
  /** The first few failures, for people. */
  failures: string[];
  /** When a version answered for the first time, in milliseconds since the epoch. */
  firstSeen: { [version: string]: number };
}

/** A load that runs. */
export interface RunningLoad {
  /** What it has seen since it was last asked. */
  report(): Promise<LoadReport>;
  stop(): Promise<void>;
}

/** Starts the load in another process. With `lasting`, that many WebSockets stay open for the whole run. */
export async function startLoad(url: string, options: { lasting?: number } = {}): Promise<RunningLoad> {
  const child = fork(__filename, [url, String(options.lasting ?? 0)]);
  await once(child, "message");
  return {
    report: () => ask(child, "report"),
    async stop() {
      if (!child.connected) return;
      const ended = once(child, "exit");
      child.send("stop");
      await ended;
    },
  };
}

async function ask(child: ChildProcess, question: string): Promise<LoadReport> {
  const answer = once(child, "message");
  child.send(question);
  return ((await answer) as [LoadReport])[0];
}

class Load {
  private startedAt = Date.now();
  private requests = 0;
  private total = 0;
  private stale = 0;
  private lostSockets = 0;
  private failed = 0;
  private failures: string[] = [];
  private newest = 0;
  private readonly firstSeen: { [version: string]: number } = {};
  private running = true;

  constructor(
    private readonly url: URL,
    private readonly lasting: number,
  ) {}

  start(): void {
    const repeat = (count: number, work: (index: number) => Promise<void>): void => {
      for (let index = 0; index < count; index++) void this.loop(() => work(index));
    };
    const agents = Array.from(
      { length: KEPT_CONNECTIONS },
      () => new http.Agent({ keepAlive: true, maxSockets: 1 }),
    );
    repeat(KEPT_CONNECTIONS, async (index) => {
      await this.request("kept", { path: "/", agent: agents[index] });
      await wait(KEPT_PAUSE_MS);
    });
    repeat(DOWNLOADS, () =>
      this.request("download", { path: `/download/${DOWNLOAD_SECONDS}`, agent: false }),
    );
    repeat(UPLOADS, () => this.upload());
    repeat(SOCKETS, () => this.socket(SOCKET_MESSAGES));
    repeat(this.lasting, () => this.socket(Infinity));
    void this.sendShort();
    setTimeout(() => process.exit(1), LONGEST_MS).unref();
  }

  takeReport(): LoadReport {
    const seconds = (Date.now() - this.startedAt) / 1000;
    const { requests, failed, stale, lostSockets, failures, firstSeen } = this;
    this.startedAt = Date.now();
    Object.assign(this, { requests: 0, failed: 0, stale: 0, lostSockets: 0, failures: [] });
    return {
      seconds,
      requests,
      perSecond: requests / seconds,
      failed,
      stale,
      lostSockets,
      failures,
      firstSeen: { ...firstSeen },
    };
  }

  stop(): void {
    this.running = false;
  }

  private async loop(work: () => Promise<void>): Promise<void> {
    while (this.running && this.total < MOST_REQUESTS) await work();
  }

  /** Each on a connection of its own, at a fixed rate: a slow answer does not slow the next request. */
  private async sendShort(): Promise<void> {
    const startedAt = Date.now();
    for (let sent = 0; this.running && this.total < MOST_REQUESTS;) {
      const due = ((Date.now() - startedAt) / 1000) * SHORT_PER_SECOND;
      for (; sent < due; sent++) void this.request("short", { path: "/", agent: false });
      await wait(5);
    }
  }

  private async request(
    kind: Kind,
    options: http.RequestOptions,
    body?: (request: http.ClientRequest) => Promise<void>,
  ): Promise<void> {
    const begun = this.begin();
    try {
      const signal = AbortSignal.timeout(REQUEST_MS);
      const request = http.request({ ...options, host: this.url.hostname, port: this.url.port, signal });
      const answered = once(request, "response") as Promise<[http.IncomingMessage]>;
      const sending = body ? body(request) : Promise.resolve(void request.end());
      const [response] = await answered;
      let bytes = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) bytes += chunk.length;
      await sending;
      if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
      if (!response.complete || bytes !== Number(response.headers["content-length"]))
        throw new Error("cut short");
      this.answered(begun, Number(response.headers["x-version"]), kind);
    } catch (error) {
      this.fail(kind, error);
      await wait(PAUSE_MS); // a proxy that is down is not to be flooded
    }
  }

  private upload(): Promise<void> {
    const chunk = Buffer.alloc(1024);
    const headers = { "content-length": UPLOAD_CHUNKS * chunk.length };
    return this.request(
      "upload",
      { method: "POST", path: "/upload", headers, agent: false },
      async (request) => {
        for (let index = 0; index < UPLOAD_CHUNKS && !request.destroyed; index++) {
          request.write(chunk);
          await wait(PAUSE_MS);
        }
        request.end();
      },
    );
  }

  /** Sends small texts and wants them back, one after the other. Closed by the other side is a failure. */
  private async socket(messages: number): Promise<void> {
    const begun = this.begin();
    const socket = net.connect(Number(this.url.port), this.url.hostname);
    try {
      socket.on("error", () => undefined); // seen by who reads
      const reader = new FrameReader(socket);
      socket.write(
        `GET /socket HTTP/1.1\r\nHost: ${this.url.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
      );
      const head = await reader.readHead();
      if (!head.startsWith("HTTP/1.1 101")) throw new Error(`no WebSocket: ${head.slice(0, 40)}`);
      this.answered(begun, Number(/x-version: (\d+)/i.exec(head)?.[1]), "socket");
      for (let index = 0; index < messages && this.running; index++) {
        socket.write(Buffer.from([0x81, 0x84, 0, 0, 0, 0, ...Buffer.from("ping")]));
        const echo = await reader.read(6);
        if (echo.subarray(2).toString() !== "ping") throw new Error("wrong echo");
        await wait(PAUSE_MS);
      }
      socket.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0]));
      await reader.read(2);
    } catch (error) {
      if (messages === Infinity) this.lostSockets++;
      this.fail("socket", error);
      await wait(PAUSE_MS);
    } finally {
      socket.destroy();
    }
  }

  private begin(): number {
    this.requests++;
    this.total++;
    return this.newest;
  }

  private answered(newestAtBegin: number, version: number, kind: Kind): void {
    this.firstSeen[version] ??= Date.now();
    if (version < newestAtBegin) {
      this.stale++;
      this.note(`${kind}: version ${version} answered after ${newestAtBegin}`);
    }
    this.newest = Math.max(this.newest, version);
  }

  private fail(kind: Kind, error: unknown): void {
    if (!this.running) return;
    this.failed++;
    const { code, message } = error as NodeJS.ErrnoException;
    this.note(`${kind}: ${code ?? ""} ${message}`);
  }

  private note(text: string): void {
    if (this.failures.length < 10) this.failures.push(`${new Date().toISOString().slice(11, 23)} ${text}`);
  }
}

/** Bytes of a socket in the sizes that are asked for. */
class FrameReader {
  private buffer = Buffer.alloc(0);
  private ended = false;
  private wake: () => void = () => undefined;

  constructor(socket: net.Socket) {
    socket.on("data", (chunk) => {
      this.buffer = Buffer.concat([this.buffer, chunk]);
      this.wake();
    });
    socket.on("close", () => {
      this.ended = true;
      this.wake();
    });
  }

  async readHead(): Promise<string> {
    for (;;) {
      const end = this.buffer.indexOf("\r\n\r\n");
      if (end >= 0) return (await this.read(end + 4)).toString();
      await this.more();
    }
  }

  async read(size: number): Promise<Buffer> {
    while (this.buffer.length < size) await this.more();
    const bytes = this.buffer.subarray(0, size);
    this.buffer = this.buffer.subarray(size);
    return bytes;
  }

  private async more(): Promise<void> {
    if (this.ended) throw new Error("closed by the other side");
    await new Promise<void>((resolve) => (this.wake = resolve));
  }
}

if (require.main === module) {
  const load = new Load(new URL(process.argv[2] ?? ""), Number(process.argv[3] ?? 0));
  load.start();
  process.on("message", (message) => {
    if (message === "report") process.send?.(load.takeReport());
    if (message !== "stop") return;
    load.stop();
    process.exit(0);
  });
  process.on("disconnect", () => process.exit(0));
  process.send?.("started");
}
