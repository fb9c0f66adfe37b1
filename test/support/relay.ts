/** A TCP relay that is as slow, as far away or as unreliable as a test wants. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

export interface Relay {
  port: number;
  /** How many connections were made through it. */
  readonly connections: number;
  readonly bytesToServer: number;
  /** Cuts all connections there are. */
  cut(): void;
  /** Swallows everything from now on, without a word to either side. */
  freeze(): void;
  stop(): void;
}

export interface RelayOptions {
  /** Time that each byte takes in each direction. */
  delayMs?: number;
  /** Cuts the n-th connection (from 0) when this many bytes have gone to the server; undefined: never. */
  cutAfterBytes?: (connection: number) => number | undefined;
  /** To the server. */
  bytesPerSecond?: number;
}

export async function startRelay(targetPort: number, options: RelayOptions = {}): Promise<Relay> {
  const sockets = new Set<Socket>();
  let connections = 0;
  let bytesToServer = 0;
  let isFrozen = false;
  const server = createServer((client) => {
    const target = connect(targetPort, "127.0.0.1");
    const left = { bytes: options.cutAfterBytes?.(connections) ?? Infinity };
    connections++;
    const cut = (): void => void (client.destroy(), target.destroy());
    for (const socket of [client, target]) {
      sockets.add(socket.setNoDelay(true));
      socket.on("error", cut).on("close", () => (sockets.delete(socket), cut()));
    }
    const forward = (from: Socket, to: Socket, isCounted: boolean): void => {
      let free = Date.now();
      from.on("data", (chunk: Buffer) => {
        if (isFrozen) return;
        const piece = isCounted ? chunk.subarray(0, left.bytes) : chunk;
        if (isCounted) {
          left.bytes -= piece.length;
          bytesToServer += piece.length;
        }
        const isLast = isCounted && left.bytes <= 0;
        const waitMs = options.delayMs ?? 0;
        const send = (): void => void to.write(piece, () => isLast && cut());
        if (isCounted && options.bytesPerSecond) {
          free = Math.max(free, Date.now()) + (piece.length / options.bytesPerSecond) * 1000;
          from.pause();
          setTimeout(() => (send(), from.resume()), free - Date.now() + waitMs);
        } else if (waitMs > 0) setTimeout(send, waitMs);
        else send();
      });
    };
    forward(client, target, true);
    forward(target, client, false);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const cutAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as { port: number }).port,
    get connections() {
      return connections;
    },
    get bytesToServer() {
      return bytesToServer;
    },
    cut: cutAll,
    freeze: () => void (isFrozen = true),
    stop: () => (server.close(), cutAll()),
  };
}
