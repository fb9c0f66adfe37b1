import { createHash } from "node:crypto";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import type { Args } from "../pulumi/args";
import { dropUndefined } from "../pulumi/describe";
import { Generation } from "./generation";
import { HaproxySwitch } from "./haproxy";
import type { ProxyTimeoutOptions, SwitchDrainOptions, SwitchHealthOptions } from "./options";

/** Inside the proxy's container. `switch/haproxy-config.ts` says the same: what runs in the program loads nothing of it. */
const LISTEN_PORT = 8080;
const MASTER_PORT = 9901;
const CONFIGURATION_FOLDER = "/kiln";
const BACKENDS = ["blue", "green"];
const DEFAULT_GRACE_SECONDS = 30;

/**
 * For ever the same, since another command replaces the proxy's container. The switch writes the configuration; the port
 * of the master process is on the container's own loopback.
 */
const PROXY_COMMAND = `trap 'exit 0' TERM
until test -s ${CONFIGURATION_FOLDER}/haproxy.cfg; do sleep 0.1; done
exec haproxy -W -db -S 127.0.0.1:${MASTER_PORT} -f ${CONFIGURATION_FOLDER}/haproxy.cfg`;

/** The proxy of a `DockerBlueGreen`. */
export interface DockerProxyArgs {
  /** Where visitors come in: a port of the host, or an address and port such as `127.0.0.1:8000` or `[::]:443`. Another one replaces the proxy's container. */
  listen: number | string;
  /** Any image with HAProxy 2.6 or newer and a shell in it, such as `haproxy:lts`. Another one replaces the proxy's container: for a moment nobody answers. */
  image: pulumi.Input<string>;
  /** Certificates with their keys, in PEM; the proxy then speaks TLS and HTTP/2. A change is a hitless reload. */
  certificates?: pulumi.Input<pulumi.Input<string>[]>;
  /** Lines at the end of HAProxy's configuration: they go on with the frontend, or begin sections of their own. A change is a hitless reload. */
  extraConfig?: pulumi.Input<string>;
  /** A change is a hitless reload. */
  timeouts?: Args<ProxyTimeoutOptions>;
}

/** Arguments of `DockerBlueGreen`. */
export interface DockerBlueGreenArgs {
  /** What the containers run: an image's id, so that another content is another value. */
  image: pulumi.Input<string>;
  /** How many containers. Default 1. */
  replicas?: number;
  /** Where the application listens, inside its container. */
  port: pulumi.Input<number>;
  /** More arguments of `docker.Container`. No name and no fixed port of the host: two versions run at the same time. */
  container?: Omit<docker.ContainerArgs, "image" | "name">;
  /** When a new container counts as healthy. */
  health?: Args<SwitchHealthOptions & { path?: string }>;
  /** How old containers end. */
  drain?: Args<SwitchDrainOptions>;
  proxy: DockerProxyArgs;
  network?: {
    /** Addresses of the component's own network, such as `10.99.0.0/24`. Default: a free one in 198.18.0.0/15. */
    subnet?: pulumi.Input<string>;
  };
  /** Any values; another one makes new containers. */
  triggers?: pulumi.Input<{ [name: string]: pulumi.Input<string> }>;
  /** The engine, as in DOCKER_HOST. Default: that of the docker provider, else Docker's own settings. */
  host?: pulumi.Input<string>;
}

/** What serves at the end of an update. */
export interface ActiveVersion {
  /** `blue` or `green`. */
  colour: string;
  imageId: string;
}

/**
 * Containers behind a proxy. Another image, or other arguments, make new containers beside the old ones; when the proxy
 * sees them healthy, all new requests go to them in one step; the old ones finish what they do, and are removed.
 */
export class DockerBlueGreen extends pulumi.ComponentResource {
  /** Where visitors come in, as a URL. */
  readonly address: pulumi.Output<string>;
  readonly active: pulumi.Output<ActiveVersion>;
  /** What runs the image. */
  readonly containers: docker.Container[];
  readonly proxy: docker.Container;

  constructor(name: string, args: DockerBlueGreenArgs, options: pulumi.ComponentResourceOptions = {}) {
    refuseFixed(name, args.container ?? {});
    super("kiln:rollout:DockerBlueGreen", name, {}, options);
    const child: pulumi.CustomResourceOptions = { parent: this, dependsOn: options.dependsOn };
    const host = pulumi.output(args.host ?? this.findHost());
    const replicas = args.replicas ?? 1;
    const generation = new Generation(
      name,
      { content: describeContent(args), replicas, wishedSubnet: args.network?.subnet, host },
      child,
    );
    const network = new docker.Network(
      name,
      { ipamConfigs: [{ subnet: generation.subnet, ipRange: generation.foreignRange }] },
      child,
    );
    this.proxy = makeProxy(name, args.proxy, network, generation, child);
    this.containers = Array.from({ length: replicas }, (_, index) =>
      makeContainer(`${name}-${index + 1}`, args, network, generation.addresses[index] as never, child),
    );
    const { path, ...health } = (args.health ?? {}) as { path?: pulumi.Input<string> };
    const { timeouts, extraConfig, certificates } = args.proxy;
    const traffic = new HaproxySwitch(
      name,
      {
        proxy: {
          runtimeApi: pulumi.interpolate`docker://${this.proxy.name}:${MASTER_PORT}`,
          map: `${CONFIGURATION_FOLDER}/live.map`,
          key: "live",
          backends: BACKENDS,
        },
        servers: this.containers.map((container, index) => ({
          name: `${index + 1}`,
          // Only when it runs: known as it is, the address says nothing of that.
          address: pulumi.all([generation.addresses, container.id]).apply(([all]) => all[index] ?? ""),
          port: args.port,
        })),
        version: pulumi.interpolate`${generation.generation}`,
        health,
        drain: args.drain,
        configuration: dropUndefined({ path, timeouts, extraConfig }),
        certificates,
        host: host as pulumi.Output<string>,
      },
      { parent: this, dependsOn: [this.proxy, ...this.containers] },
    );
    this.address = traffic.active.apply(() => describeAddress(args.proxy));
    this.active = pulumi
      .all([traffic.active, args.image])
      .apply(([colour, imageId]) => ({ colour, imageId }));
    this.registerOutputs({
      address: this.address,
      active: this.active,
      containers: this.containers.map((container) => container.name),
    });
  }

  /** The engine that the children are made on. */
  private findHost(): pulumi.Input<string | undefined> {
    const provider = this.getProvider("docker:index/container:Container") as docker.Provider | undefined;
    return provider ? provider.host : new pulumi.Config("docker").get("host");
  }
}

/** Everything that another container is made for. */
function describeContent({ image, container, port, triggers }: DockerBlueGreenArgs): pulumi.Output<string> {
  return pulumi.output({ image, container, port, triggers }).apply((content) => {
    refuseFixedPorts(content.container?.ports ?? []);
    return createHash("sha256")
      .update(JSON.stringify(sortKeys(content)))
      .digest("hex")
      .slice(0, 16);
  });
}

function makeProxy(
  name: string,
  args: DockerProxyArgs,
  network: docker.Network,
  generation: Generation,
  child: pulumi.CustomResourceOptions,
): docker.Container {
  const { ip, port } = parseListen(args.listen);
  const volume = new docker.Volume(`${name}-proxy`, {}, child);
  return new docker.Container(
    `${name}-proxy`,
    {
      image: args.image,
      entrypoints: ["/bin/sh", "-c", PROXY_COMMAND],
      restart: "unless-stopped",
      stopSignal: "SIGTERM",
      ports: [{ internal: LISTEN_PORT, external: port, ...(ip === undefined ? {} : { ip }) }],
      networksAdvanced: [{ name: network.name, ipv4Address: generation.proxyAddress }],
      volumes: [{ volumeName: volume.name, containerPath: CONFIGURATION_FOLDER }],
    },
    // The port is the host's: two proxies cannot have it.
    { ...child, deleteBeforeReplace: true },
  );
}

function makeContainer(
  name: string,
  args: DockerBlueGreenArgs,
  network: docker.Network,
  address: pulumi.Output<string>,
  child: pulumi.CustomResourceOptions,
): docker.Container {
  const { container = {}, image } = args;
  const own = { name: network.name, ipv4Address: address };
  return new docker.Container(
    name,
    {
      restart: "unless-stopped",
      destroyGraceSeconds: DEFAULT_GRACE_SECONDS,
      ...container,
      image,
      networksAdvanced: pulumi.output(container.networksAdvanced).apply((others) => [own, ...(others ?? [])]),
    },
    { ...child, deleteBeforeReplace: false },
  );
}

function refuseFixed(name: string, container: object): void {
  const reasons: { [argument: string]: string } = {
    name: "the new container runs beside the old one, and both cannot have it",
    image: "it is an argument of its own",
    networkMode: "containers are in the component's own network, at addresses that the proxy knows",
  };
  for (const [argument, reason] of Object.entries(reasons))
    if (argument in container)
      throw new pulumi.RunError(`DockerBlueGreen ${name}: container.${argument} cannot be set: ${reason}`);
}

function refuseFixedPorts(ports: readonly { external?: number }[]): void {
  if (ports.every((port) => port.external === undefined)) return;
  throw new pulumi.RunError(
    "DockerBlueGreen: container.ports[].external cannot be set: the new container runs beside the old one, and both cannot have the port. Requests come through the proxy",
  );
}

function parseListen(listen: number | string): { ip?: string; port: number } {
  const [, ip, port = ""] = /^(?:\[?([^\]]+)\]?:)?(\d{1,5})$/.exec(String(listen)) ?? [];
  if (port === "")
    throw new pulumi.RunError(
      `DockerBlueGreen: proxy.listen: expected a port, or address:port, got "${listen}"`,
    );
  return { port: Number(port), ...(ip === undefined ? {} : { ip }) };
}

function describeAddress({ listen, certificates }: DockerProxyArgs): string {
  const { ip, port } = parseListen(listen);
  const isAny = ip === undefined || ip === "0.0.0.0" || ip === "::";
  const host = isAny ? "localhost" : ip.includes(":") ? `[${ip}]` : ip;
  return `${certificates === undefined ? "http" : "https"}://${host}:${port}`;
}

/** The order in which a program writes its arguments is no difference. */
function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sortKeys(item)]),
  );
}
