import * as net from "node:net";
import { sleep, throwIfAborted } from "../../core/retry";

const CONNECT_POLL_MS = 20;
/** A QEMU that hangs must not hang the build: nothing that is asked takes long. */
const ANSWER_MS = 30_000;

interface Reply {
  return?: unknown;
  error?: { class: string; desc: string };
  event?: string;
  data?: unknown;
  id?: number;
}

interface Waiter {
  command: string;
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

/** QEMU's machine protocol on a unix socket: https://www.qemu.org/docs/master/interop/qmp-spec.html. */
export class QmpClient {
  private readonly waiting = new Map<number, Waiter>();
  private lastId = 0;
  private failure: Error | undefined;
  private rest = "";

  private constructor(private readonly socket: net.Socket) {
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.receive(text));
    socket.on("error", (error) => this.fail(error));
    socket.on("close", () => this.fail(new Error("QEMU has ended")));
  }

  /** Waits until the socket is there. `isDead` says that it will never be. */
  static async connect(file: string, isDead: () => boolean, signal: AbortSignal): Promise<QmpClient> {
    for (;;) {
      throwIfAborted(signal);
      const socket = await tryConnect(file);
      if (socket) {
        const client = new QmpClient(socket);
        await client.execute("qmp_capabilities");
        return client;
      }
      if (isDead()) throw new Error("QEMU ended before it could be asked anything");
      await sleep(CONNECT_POLL_MS, signal);
    }
  }

  /** Rejects with QEMU's own description of what is wrong. */
  execute(command: string, parameters?: object): Promise<unknown> {
    if (this.failure) return Promise.reject(this.explain(command, this.failure));
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.fail(new Error(`no answer in ${ANSWER_MS / 1000} s`)), ANSWER_MS);
      const settle = <T>(then: (value: T) => void) => {
        return (value: T): void => {
          clearTimeout(timer);
          then(value);
        };
      };
      this.waiting.set(id, { command, resolve: settle(resolve), reject: settle(reject) });
      this.socket.write(`${JSON.stringify({ execute: command, arguments: parameters, id })}\n`);
    });
  }

  /** A command for people, whose answer is text; for what has no other. */
  async executeHuman(line: string): Promise<string> {
    return String(await this.execute("human-monitor-command", { "command-line": line }));
  }

  close(): void {
    this.socket.destroy();
  }

  private receive(text: string): void {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop() ?? "";
    for (const line of lines) this.answer(line);
  }

  private answer(line: string): void {
    const reply = JSON.parse(line) as Reply;
    const waiter = reply.id === undefined ? undefined : this.waiting.get(reply.id);
    if (!waiter || reply.id === undefined) return; // the greeting, an event
    this.waiting.delete(reply.id);
    if (reply.error) waiter.reject(this.explain(waiter.command, new Error(reply.error.desc)));
    else waiter.resolve(reply.return);
  }

  private fail(error: Error): void {
    this.failure ??= error;
    this.socket.destroy();
    for (const { command, reject } of this.waiting.values()) reject(this.explain(command, error));
    this.waiting.clear();
  }

  private explain(command: string, cause: Error): Error {
    return new Error(`Asking QEMU for ${command}: ${cause.message}`, { cause });
  }
}

function tryConnect(file: string): Promise<net.Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(file);
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      resolve(socket);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ECONNREFUSED") resolve(undefined);
      else reject(error);
    });
  });
}
