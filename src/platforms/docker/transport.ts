import * as http from "node:http";
import * as https from "node:https";
import type { Transport } from "./address";
import { SshAgent } from "./ssh-agent";

/** Opens HTTP requests to one engine over a pool of kept connections. */
export interface Connector {
  request(options: http.RequestOptions): http.ClientRequest;
  /** Ends the kept connections; requests still running are cut. */
  close(): void;
}

/**
 * A pool for one engine. A build makes some forty small requests, which share a connection; while idle it
 * does not keep the process alive (Node's agent unreferences a free socket).
 */
export function openConnector(transport: Transport): Connector {
  switch (transport.kind) {
    case "socket":
      return connector(new http.Agent({ keepAlive: true }), http.request, { socketPath: transport.path });
    case "ssh":
      return connector(new SshAgent(transport), http.request, { host: "docker" });
    case "tcp": {
      const { host, port, pathPrefix, tls } = transport;
      if (!tls)
        return connector(new http.Agent({ keepAlive: true }), http.request, { host, port }, pathPrefix);
      const { ca, cert, key, skipVerify } = tls;
      const agent = new https.Agent({ keepAlive: true, ca, cert, key, rejectUnauthorized: !skipVerify });
      return connector(agent, https.request, { host, port }, pathPrefix);
    }
  }
}

function connector(
  agent: http.Agent,
  request: typeof http.request,
  target: http.RequestOptions,
  pathPrefix = "",
): Connector {
  return {
    request: (options) =>
      request({ ...target, ...options, path: `${pathPrefix}${options.path ?? ""}`, agent }),
    close: () => agent.destroy(),
  };
}
