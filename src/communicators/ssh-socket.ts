import { isIP, Socket } from "node:net";
import { throwIfAborted } from "../core/retry";

/** Packer's limit too: a machine that drops packets is tried again from the start. */
const DIAL_MS = 15_000;

export interface SocksProxy {
  host: string;
  port: number;
  username?: string;
  password?: string;
}

/** Connects to a port, directly or through a SOCKS5 proxy. */
export async function dial(
  host: string,
  port: number,
  signal: AbortSignal,
  proxy?: SocksProxy,
): Promise<Socket> {
  throwIfAborted(signal);
  const socket = new Socket();
  const abort = (): void => void socket.destroy();
  signal.addEventListener("abort", abort);
  const timer = setTimeout(
    () => socket.destroy(new Error(`no answer within ${DIAL_MS / 1000} seconds`)),
    DIAL_MS,
  );
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject).once("close", () => reject(new Error("the connection was closed")));
      socket.connect({ host: proxy?.host ?? host, port: proxy?.port ?? port }, resolve);
    });
    socket.setNoDelay(true).setKeepAlive(true, 5000);
    if (proxy) await askSocks(socket, host, port, proxy);
    return socket.removeAllListeners("error").removeAllListeners("close");
  } catch (error) {
    socket.destroy();
    throwIfAborted(signal);
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

const VERSION = 5;
const NO_AUTHENTICATION = 0;
const PASSWORD = 2;
const REASONS = [
  "", "general failure", "not allowed by its rules", "network unreachable", "host unreachable",
  "connection refused", "time to live expired", "command not supported", "address type not supported",
]; // prettier-ignore

/** RFC 1928, and RFC 1929 for the password. */
async function askSocks(socket: Socket, host: string, port: number, proxy: SocksProxy): Promise<void> {
  const fail = (reason: string): never => {
    throw new Error(`Asking the proxy ${proxy.host}:${proxy.port} for ${host}:${port}: ${reason}`);
  };
  const methods = proxy.username === undefined ? [NO_AUTHENTICATION] : [NO_AUTHENTICATION, PASSWORD];
  socket.write(Buffer.from([VERSION, methods.length, ...methods]));
  const [version, method] = await readBytes(socket, 2);
  if (version !== VERSION) fail("it does not speak SOCKS5");
  if (method === PASSWORD) {
    const parts = [proxy.username ?? "", proxy.password ?? ""].map((text) => Buffer.from(text));
    if (parts.some(({ length }) => length > 255)) fail("its user name or password is too long");
    socket.write(
      Buffer.concat([Buffer.from([1]), ...parts.flatMap((part) => [Buffer.from([part.length]), part])]),
    );
    if ((await readBytes(socket, 2))[1] !== 0) fail("it refuses the user name or the password");
  } else if (method !== NO_AUTHENTICATION) {
    fail("it wants a user name and a password (`sshProxyUsername`, `sshProxyPassword`)");
  }
  socket.write(
    Buffer.concat([Buffer.from([VERSION, 1, 0]), encodeAddress(host), Buffer.from([port >> 8, port & 255])]),
  );
  const [, reply = 1, , type] = await readBytes(socket, 4);
  if (reply !== 0) fail(REASONS[reply] ?? `code ${reply}`);
  const length = type === 1 ? 4 : type === 4 ? 16 : ((await readBytes(socket, 1))[0] ?? 0);
  await readBytes(socket, length + 2);
}

/** An IPv6 address goes by its name as well: the proxy resolves it. */
function encodeAddress(host: string): Buffer {
  if (isIP(host) === 4) return Buffer.from([1, ...host.split(".").map(Number)]);
  const name = Buffer.from(host);
  if (name.length > 255) throw new Error(`The host name ${host} is too long for a SOCKS5 proxy`);
  return Buffer.concat([Buffer.from([3, name.length]), name]);
}

async function readBytes(socket: Socket, count: number): Promise<Buffer> {
  for (;;) {
    const bytes = count === 0 ? Buffer.alloc(0) : (socket.read(count) as Buffer | null);
    if (bytes?.length === count) return bytes;
    if (socket.destroyed || socket.readableEnded) throw new Error("the proxy closed the connection");
    await new Promise<void>((resolve, reject) => {
      const done = (): void => {
        socket.off("readable", done).off("end", done).off("close", done).off("error", failed);
        resolve();
      };
      const failed = (error: Error): void => reject(error);
      socket.once("readable", done).once("end", done).once("close", done).once("error", failed);
    });
  }
}
