import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TcpConnectionDetails } from "ssh2";
import type { SshConnection } from "./ssh-connection";
import { HopelessError } from "./ssh-host-key";

export interface Tunnel {
  port: number;
  targetHost: string;
  targetPort: number;
}

/** `port:host:port`; an IPv6 address in brackets. */
export function parseTunnel(text: string): Tunnel {
  const [, port, host, targetPort] = /^(\d+):(\[[^\]]+\]|[^:]+):(\d+)$/.exec(text) ?? [];
  if (host === undefined) throw new Error(`"${text}" is not a tunnel such as 8080:localhost:80`);
  return { port: Number(port), targetHost: host.replace(/^\[|\]$/g, ""), targetPort: Number(targetPort) };
}

/** Ports of this machine that lead, through whatever connection there is at the time, to what the machine can reach. */
export class LocalTunnels {
  private readonly servers: Server[] = [];
  private readonly sockets = new Set<Socket>();

  static async open(tunnels: readonly Tunnel[], connection: () => SshConnection): Promise<LocalTunnels> {
    const opened = new LocalTunnels();
    try {
      for (const tunnel of tunnels) await opened.listen(tunnel, connection);
    } catch (error) {
      opened.close();
      throw error;
    }
    return opened;
  }

  close(): void {
    for (const server of this.servers) server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private async listen(tunnel: Tunnel, connection: () => SshConnection): Promise<void> {
    const server = createServer((socket) => {
      this.sockets.add(socket);
      socket.on("error", () => undefined).once("close", () => this.sockets.delete(socket));
      connection()
        .openTunnel(tunnel.targetHost, tunnel.targetPort)
        .then(
          (channel) => join(socket, channel),
          () => socket.destroy(),
        );
    });
    this.servers.push(server);
    server.listen(tunnel.port, "127.0.0.1");
    try {
      await once(server, "listening");
    } catch (error) {
      throw new Error(
        `Opening the tunnel from port ${tunnel.port}: ${(error as Error).message}. Choose another port in \`sshLocalTunnels\``,
        { cause: error },
      );
    }
  }
}

/** Ports of the machine that lead to what this one can reach; they end with the connection. */
export async function openRemoteTunnels(
  { client }: SshConnection,
  tunnels: readonly Tunnel[],
): Promise<void> {
  if (tunnels.length === 0) return;
  client.on("tcp connection", (details: TcpConnectionDetails, accept, reject) => {
    const tunnel = tunnels.find(({ port }) => port === details.destPort);
    if (!tunnel) return reject();
    const socket = connect(tunnel.targetPort, tunnel.targetHost);
    socket.once("connect", () => join(socket, accept())).once("error", () => reject());
  });
  for (const { port } of tunnels) {
    await new Promise<void>((resolve, reject) => {
      client.forwardIn("127.0.0.1", port, (error) => {
        if (!error) return resolve();
        const message = `Opening the tunnel from the machine's port ${port}: ${error.message}. Is it taken, or does sshd forbid it (AllowTcpForwarding)?`;
        reject(new HopelessError(message, { cause: error }));
      });
    });
  }
}

function join(socket: Socket, channel: Duplex): void {
  channel.on("error", () => socket.destroy()).once("close", () => socket.destroy());
  socket.on("error", () => channel.destroy()).once("close", () => channel.destroy());
  socket.pipe(channel).pipe(socket);
}
