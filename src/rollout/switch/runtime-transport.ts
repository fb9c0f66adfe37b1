/** How one line gets to HAProxy's runtime API, and its answer back, after which HAProxy closes the connection. */
import * as net from "node:net";
import { throwIfAborted } from "../../core/retry";
import { GoneError, UnreachableError } from "./balancer";
import type { ProxyContainer } from "./proxy-container";

const CONNECT_TIMEOUT_MS = 5000;
/** A master process would wait for more. */
const QUIT = "; quit";

/** The way to one runtime API. */
export interface RuntimeTransport {
  readonly address: string;
  send(line: string, signal: AbortSignal): Promise<string>;
}

/** A container, and the port on its own loopback where the master process listens. */
export interface ContainerAddress {
  container: string;
  port: number;
}

/** The forms of `proxy.runtimeApi`. */
export function parseRuntimeApi(
  address: string,
): { path: string } | { host: string; port: number } | ContainerAddress | undefined {
  const [, scheme, rest = ""] = /^(unix|tcp|docker):\/\/(.+)$/.exec(address) ?? [];
  if (scheme === "unix") return rest.startsWith("/") ? { path: rest } : undefined;
  const [, host = "", port = ""] = /^(.+):(\d{1,5})$/.exec(rest) ?? [];
  if (host === "") return undefined;
  if (scheme === "docker") return { container: host, port: Number(port) };
  return { host: host.replace(/^\[(.*)\]$/, "$1"), port: Number(port) };
}

/** By a socket of this machine or of the network. */
export class SocketTransport implements RuntimeTransport {
  constructor(
    readonly address: string,
    private readonly place: { path: string } | { host: string; port: number },
  ) {}

  send(line: string, signal: AbortSignal): Promise<string> {
    throwIfAborted(signal);
    return new Promise((resolve, reject) => {
      const socket = net.connect(this.place);
      const chunks: Buffer[] = [];
      const stop = (): void => void socket.destroy(signal.reason as Error);
      signal.addEventListener("abort", stop);
      socket.setTimeout(CONNECT_TIMEOUT_MS, () =>
        socket.destroy(
          new UnreachableError(`${this.describe()}: no answer in ${CONNECT_TIMEOUT_MS / 1000} s`),
        ),
      );
      socket.once("connect", () => socket.write(`${line}${QUIT}\n`));
      socket.on("data", (chunk) => chunks.push(chunk));
      socket.once("end", () => resolve(Buffer.concat(chunks).toString()));
      socket.once("error", (error) => reject(signal.aborted ? error : this.explain(error)));
      socket.once("close", () => signal.removeEventListener("abort", stop));
    });
  }

  private explain(error: NodeJS.ErrnoException): Error {
    if (error instanceof UnreachableError) return error;
    const isGone = error.code === "ENOENT" || error.code === "ECONNREFUSED";
    const text = `${this.describe()}: ${isGone ? "nothing listens there" : error.message}. Does HAProxy run, with \`stats socket … level admin\` there?`;
    return isGone ? new GoneError(text, { cause: error }) : new UnreachableError(text, { cause: error });
  }

  private describe(): string {
    return `Asking HAProxy's runtime API at ${this.address}`;
  }
}

const NO_CLIENT = 127;

/** Whatever of these the image has. The port is bound to the container's loopback, which no other container reaches. */
const SCRIPT = `
if command -v bash >/dev/null 2>&1; then
  exec bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$2" || exit 7; printf "%s\\n" "$1" >&3; exec cat <&3' kiln "$1" "$2"
elif command -v socat >/dev/null 2>&1; then
  printf '%s\\n' "$1" | socat -t 60 - "TCP:127.0.0.1:$2"
elif command -v perl >/dev/null 2>&1; then
  exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new("127.0.0.1:$ARGV[1]") or exit 7; print $s "$ARGV[0]\\n"; $s->flush; print while <$s>' "$1" "$2"
elif command -v python3 >/dev/null 2>&1; then
  exec python3 -c 'import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
s.sendall((sys.argv[1] + "\\n").encode())
for b in iter(lambda: s.recv(65536), b""): sys.stdout.buffer.write(b)' "$1" "$2"
elif command -v nc >/dev/null 2>&1; then
  printf '%s\\n' "$1" | nc 127.0.0.1 "$2"
else
  exit ${NO_CLIENT}
fi`;

/** By a command in the proxy's container: works with a remote engine, and opens no port. */
export class ContainerTransport implements RuntimeTransport {
  readonly address: string;

  constructor(
    private readonly container: ProxyContainer,
    private readonly port: number,
  ) {
    this.address = `docker://${container.name}:${port}`;
  }

  async send(line: string, signal: AbortSignal): Promise<string> {
    const argv = ["sh", "-c", SCRIPT, "kiln", line + QUIT, String(this.port)];
    const { exitCode, output } = await this.container.run(argv, signal);
    if (exitCode === 0) return output;
    const attempt = `Asking HAProxy's runtime API in container ${this.container.name}`;
    if (exitCode === NO_CLIENT)
      throw new Error(
        `${attempt}: its image has none of bash, socat, perl, python3, nc. Add one of them to the image`,
      );
    throw new UnreachableError(
      `${attempt}: HAProxy does not answer (exit code ${exitCode}: ${output.trim()}). See \`docker logs ${this.container.name}\``,
    );
  }
}
