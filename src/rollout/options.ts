import type { Duration } from "../core/duration";

/** A program that serves requests. */
export interface SwitchServerOptions {
  /** For people: it is a part of the server's name in HAProxy. Letters, digits, `_`, `-`. */
  name: string;
  /** An IP address: HAProxy resolves no host names for servers that are added while it runs. */
  address: string;
  port: number;
}

/** Where the proxy is, and which part of it the switch may use. */
export interface SwitchProxyOptions {
  /**
   * The runtime API: `unix:///run/haproxy/admin.sock` or `tcp://127.0.0.1:9999`, with `level admin`. It knows no password,
   * so let nobody else reach it. Better still the master process's own (`-S`): then connections that a reload has left to
   * an older process are waited for too. `docker://<container>:<port>` asks from inside a container of the engine.
   */
  runtimeApi: string;
  /** The map whose key decides, named as in the configuration: `use_backend %[str(api),map(/etc/haproxy/live.map)]`. */
  map: string;
  /** The key: it must be in the map, with one of the backends as its value. */
  key: string;
  /** The two backends: one serves, the other one is for the next version. They must be there; their servers come and go. */
  backends: string[];
}

/** When a new server counts as healthy; judged by the proxy, which is where it matters. */
export interface SwitchHealthOptions {
  /** Time between two checks of a healthy server: 1 ms to 24.8 days. Default "1s". HAProxy's `inter`. */
  interval?: Duration;
  /** How many checks in a row must pass. Default 3. HAProxy's `rise`. */
  passes?: number;
  /** How long new servers may take. Default "60s". After that nothing is switched, and the update fails. */
  timeout?: Duration;
}

/** How old servers end. */
export interface SwitchDrainOptions {
  /** How long requests and connections that still run may take. Default "30s". What is not done then is cut, and reported. */
  timeout?: Duration;
}

/** Times after which the proxy gives up, each at most 24.8 days. */
export interface ProxyTimeoutOptions {
  /** For a connection to a server. Default "2s". HAProxy's `timeout connect`. */
  connect?: Duration;
  /** For a client that says nothing. Default "60s". HAProxy's `timeout client`. */
  client?: Duration;
  /** For a server that says nothing. Default "60s". HAProxy's `timeout server`. */
  server?: Duration;
  /** For a WebSocket on which nothing is said. Default "1h". HAProxy's `timeout tunnel`. */
  tunnel?: Duration;
  /** For the next request on a kept connection. Default "60s". HAProxy's `timeout http-keep-alive`. */
  keepAlive?: Duration;
}

/** The proxy's own configuration, where the switch writes it too (`DockerBlueGreen`). A change is a hitless reload. */
export interface SwitchConfigurationOptions {
  /** What a health check asks for. Default "/". HAProxy's `http-check send uri`. */
  path?: string;
  timeouts?: ProxyTimeoutOptions;
  /** Lines at the configuration's end: they go on with the frontend, or begin sections of their own. */
  extraConfig?: string;
}

/** Options of `HaproxySwitch`. */
export interface HaproxySwitchOptions {
  proxy: SwitchProxyOptions;
  /** All that serve, at least one. Of the same version: those that are new are added, those that are missing removed. */
  servers: SwitchServerOptions[];
  /** What the servers run. Another version goes to the other backend, and takes over in one step. */
  version: string;
  health?: SwitchHealthOptions;
  drain?: SwitchDrainOptions;
  /** Only with `docker://`: the switch writes the proxy's configuration as well. */
  configuration?: SwitchConfigurationOptions;
  /** Only with `configuration`: certificates with their keys, in PEM; the proxy speaks TLS then. Secret. */
  certificates?: string[];
  /** Only with `docker://`: the engine, as in DOCKER_HOST. Default: Docker's own settings. */
  host?: string;
}
