/** The configuration of a proxy that is ours. Pure: the same text for the same wish, so that what was changed by hand shows. */
import { createHash } from "node:crypto";
import { parseDuration, type Duration } from "../../core/duration";
import type { SwitchConfigurationOptions } from "../options";
import type { Saved, Server } from "../plan";

/** Inside the proxy's container. The first is what a component publishes. */
export const LISTEN_PORT = 8080;
export const MASTER_PORT = 9901;
const NEXT_PORT = 9902;
/** The folder of a volume, so that a new container of the proxy serves at once what the last one did. */
export const CONFIGURATION_FOLDER = "/kiln";
export const MAP_FILE = "live.map";
export const NEXT_BACKEND = "kiln_next";
/** Of the map's second key: whose servers these are is forgotten when they are. */
export const OWNER_SUFFIX = ".kiln-owner";

/** Checks of a server that is not yet, or no longer, healthy: often, since somebody waits for it. */
const FAST_CHECK_MS = 250;
/** Each failed one takes a server that was healthy nearer to being left out. */
const FAILED_CHECKS = 2;

const HEADER = "# kiln: ";
/** Raised when the text changes for the same settings: running proxies then reload once. */
const TEXT_VERSION = 1;

/** When the proxy asks its servers, and how often one must answer. */
export interface HealthChecks {
  intervalMs: number;
  passes: number;
}

/** Everything that shapes the configuration, but for the servers. */
export interface ConfigurationSettings extends SwitchConfigurationOptions {
  map: string;
  key: string;
  backends: readonly [string, string];
  owner: string;
  checks: HealthChecks;
  certificates: readonly string[];
}

/** How the servers of one colour are checked. */
interface HealthSettings extends HealthChecks {
  path: string;
}

/** What was saved, and the text of each health that it names. */
interface Header {
  saved: Saved;
  health: { [hash: string]: HealthSettings };
}

/** The files of the configuration, by their names in its folder. */
export interface ConfigurationFiles {
  [path: string]: string;
}

export function hashHealth(settings: ConfigurationSettings): string {
  return shortHash(describeHealth(settings));
}

/** Of everything that a reload is for, but for the health, which each colour has its own of. */
export function hashSettings({
  timeouts,
  extraConfig,
  certificates,
  map,
  key,
  backends,
}: ConfigurationSettings): string {
  return shortHash({ text: TEXT_VERSION, timeouts, extraConfig, certificates, map, key, backends });
}

function describeHealth({ path = "/", checks }: ConfigurationSettings): HealthSettings {
  return { path, ...checks };
}

/** `previous` is the configuration that stands there now: it knows the health of a colour that keeps its own. */
export function renderConfiguration(
  settings: ConfigurationSettings,
  saved: Saved,
  previous?: string,
): ConfigurationFiles {
  const known = { ...readHeader(previous ?? "")?.health, [hashHealth(settings)]: describeHealth(settings) };
  const health: Header["health"] = {};
  for (const hash of Object.values(saved.health)) health[hash] = known[hash] ?? describeHealth(settings);
  const header: Header = { saved, health };
  const backends = settings.backends.flatMap((name) =>
    renderBackend(
      name,
      health[saved.health[name] ?? ""] ?? describeHealth(settings),
      saved.servers[name] ?? [],
    ),
  );
  const lines = [
    HEADER + JSON.stringify(header),
    "# Written by pulumi-kiln. The next update takes back what is changed by hand.",
    ...renderGlobal(settings, saved),
    ...backends,
    ...renderNext(),
    ...renderFrontend(settings),
  ];
  const certificates = settings.certificates.map((pem, index): [string, string] => [
    `certs/${index}.pem`,
    pem,
  ]);
  return {
    ...Object.fromEntries(certificates),
    "haproxy.cfg": `${lines.join("\n")}\n`,
    [MAP_FILE]: `${settings.key} ${saved.live}\n${settings.key}${OWNER_SUFFIX} ${saved.owner}\n`,
  };
}

/** What the text says was saved, if it is a configuration of ours. */
export function readSaved(text: string): Saved | undefined {
  return readHeader(text)?.saved;
}

function readHeader(text: string): Header | undefined {
  const [first = ""] = text.split("\n");
  return first.startsWith(HEADER) ? (JSON.parse(first.slice(HEADER.length)) as Header) : undefined;
}

/** The running process tells what it was started with. */
export function describeRunning(saved: Saved, backends: readonly string[]): string {
  return ["kiln", saved.settings, ...backends.map((name) => saved.health[name] ?? "-")].join(" ");
}

export function readRunning(
  description: string,
  backends: readonly [string, string],
): { settings: string; health: { [backend: string]: string } } {
  const [, settings = "", first = "", second = ""] = description.split(" ");
  return { settings, health: { [backends[0]]: first, [backends[1]]: second } };
}

function renderGlobal({ timeouts = {}, backends }: ConfigurationSettings, saved: Saved): string[] {
  const milliseconds = (given: Duration | undefined, otherwise: Duration): string =>
    `${parseDuration(given ?? otherwise)}ms`;
  return [
    "global",
    "  default-path config",
    `  description ${describeRunning(saved, backends)}`,
    "  log stdout format raw local0 notice",
    "defaults",
    "  mode http",
    "  log global",
    "  option redispatch",
    "  retries 3",
    // A client that reuses its connection while a reload closes it would lose a request.
    "  option idle-close-on-response",
    `  timeout connect ${milliseconds(timeouts.connect, "2s")}`,
    `  timeout client ${milliseconds(timeouts.client, "60s")}`,
    `  timeout server ${milliseconds(timeouts.server, "60s")}`,
    `  timeout tunnel ${milliseconds(timeouts.tunnel, "1h")}`,
    `  timeout http-keep-alive ${milliseconds(timeouts.keepAlive, "60s")}`,
    "  timeout http-request 10s",
  ];
}

function renderBackend(name: string, health: HealthSettings, servers: readonly Server[]): string[] {
  return [
    `backend ${name}`,
    "  balance roundrobin",
    "  option forwardfor",
    "  option httpchk",
    `  http-check send meth GET uri ${health.path} ver HTTP/1.1 hdr Host localhost`,
    // As with servers that are added while it runs: an idle connection would keep one from being removed.
    "  default-server pool-max-conn 0",
    ...servers.map((server) => `  server ${server.name} ${formatPlace(server)} ${formatChecks(health)}`),
  ];
}

/** As arguments of a server, in the configuration and in a command. */
export function formatChecks({ intervalMs, passes }: HealthChecks): string {
  const fastMs = Math.min(FAST_CHECK_MS, intervalMs);
  return `check inter ${intervalMs}ms fastinter ${fastMs}ms downinter ${fastMs}ms rise ${passes} fall ${FAILED_CHECKS}`;
}

/** The way from a process that was replaced to its successor, for clients that still hold connections to the old one. */
function renderNext(): string[] {
  return [`backend ${NEXT_BACKEND}`, `  server next 127.0.0.1:${NEXT_PORT} send-proxy-v2`];
}

/** The last section, so that the user's lines can go on with it. */
function renderFrontend({ map, key, backends, certificates, extraConfig }: ConfigurationSettings): string[] {
  const tls = certificates.length > 0 ? " ssl crt certs/ alpn h2,http/1.1" : "";
  return [
    "frontend kiln",
    `  bind :${LISTEN_PORT}${tls}`,
    `  bind 127.0.0.1:${NEXT_PORT} accept-proxy`,
    `  use_backend %[str(${key}),map(${map},${backends[0]})]`,
    ...(extraConfig === undefined ? [] : extraConfig.split("\n")),
  ];
}

/** An IPv6 address needs brackets. */
export function formatPlace({ address, port }: Server): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

function shortHash(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 12);
}
