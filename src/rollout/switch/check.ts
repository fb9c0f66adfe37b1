import * as net from "node:net";
import { z } from "zod";
import { isDuration, parseDuration } from "../../core/duration";
import { ValidationError, type Problem } from "../../core/errors";
import { duration, optionsSchema, schemaOf, UNKNOWN, validate } from "../../core/schema";
import type {
  HaproxySwitchOptions,
  ProxyTimeoutOptions,
  SwitchConfigurationOptions,
  SwitchDrainOptions,
  SwitchHealthOptions,
  SwitchProxyOptions,
  SwitchServerOptions,
} from "../options";
import { parseRuntimeApi } from "./runtime-transport";
import { rememberRun, type SwitchInputs } from "./state";

/** These stand in commands to the proxy, where a space or a semicolon would begin something else. */
const word = z.string().regex(/^[\w.:/@#-]+$/, "a name of letters, digits and any of . : / @ # _ -");

/** HAProxy counts milliseconds in 31 bits. */
const LONGEST_MS = 2 ** 31 - 1;
const proxyTime = duration.refine((text) => !isDuration(text) || parseDuration(text) <= LONGEST_MS, {
  error: `expected at most ${LONGEST_MS}ms (24.8 days), HAProxy refuses more`,
});
const checkInterval = proxyTime.refine((text) => !isDuration(text) || parseDuration(text) > 0, {
  error: "expected at least 1ms, HAProxy refuses less",
});

const proxy = schemaOf<SwitchProxyOptions>()(
  optionsSchema({
    runtimeApi: z.string().refine((text) => parseRuntimeApi(text) !== undefined, {
      error: "expected unix:///path, tcp://host:port or docker://container:port",
    }),
    map: word,
    key: word,
    backends: z.array(word).length(2, "two backends"),
  }),
);

const server = schemaOf<SwitchServerOptions>()(
  optionsSchema({
    name: z.string().regex(/^[\w-]+$/, "a name of letters, digits, _ and -"),
    address: z.string().refine((text) => net.isIP(text) !== 0, { error: "expected an IP address" }),
    port: z.int().min(1).max(65_535),
  }),
);

const health = schemaOf<SwitchHealthOptions>()(
  optionsSchema({
    interval: checkInterval.optional(),
    passes: z.int().min(1).optional(),
    timeout: duration.optional(),
  }),
);

const drain = schemaOf<SwitchDrainOptions>()(optionsSchema({ timeout: duration.optional() }));

const timeouts = schemaOf<ProxyTimeoutOptions>()(
  optionsSchema({
    connect: proxyTime.optional(),
    client: proxyTime.optional(),
    server: proxyTime.optional(),
    tunnel: proxyTime.optional(),
    keepAlive: proxyTime.optional(),
  }),
);

const configuration = schemaOf<SwitchConfigurationOptions>()(
  optionsSchema({
    path: z
      .string()
      .regex(/^\/[\x21-\x7e]*$/, "a path that begins with /")
      .optional(),
    timeouts: timeouts.optional(),
    extraConfig: z.string().optional(),
  }),
);

const schema = schemaOf<HaproxySwitchOptions>()(
  optionsSchema({
    proxy,
    servers: z.array(server).min(1),
    version: z.string().min(1),
    health: health.optional(),
    drain: drain.optional(),
    configuration: configuration.optional(),
    certificates: z.array(z.string()).optional(),
    host: z.string().optional(),
  }),
);

/** Validates, and notes whether this is a preview: the update must not see that as a change. */
export function checkSwitch(news: SwitchInputs): SwitchInputs {
  const { __kiln, __provider } = news;
  const { dryRun = false, ...kiln } = __kiln;
  const options = readOptions(news);
  const isSecret = ({ path }: Problem): boolean => path.startsWith("certificates");
  const problems = [
    ...validate(schema, options).filter((problem) => !isSecret(problem)),
    ...validate(schema, options, { hideValues: true }).filter(isSecret),
    ...findContradictions(options),
  ];
  if (problems.length > 0) throw new ValidationError(problems);
  rememberRun(kiln.urn, dryRun);
  return { ...options, __kiln: kiln, __provider };
}

/** The user's own options: what is hidden, or not set, is left out. */
export function readOptions(inputs: Partial<SwitchInputs>): HaproxySwitchOptions {
  const hidden = new Set(["active", "__kiln", "__provider", "__state"]);
  return Object.fromEntries(
    Object.entries(inputs).filter(
      ([name, value]) => !hidden.has(name) && value !== undefined && value !== null,
    ),
  ) as unknown as HaproxySwitchOptions;
}

function findContradictions(options: HaproxySwitchOptions): Problem[] {
  const problems: Problem[] = [];
  const report = (path: string, reason: string): void => void problems.push({ path, reason });
  const backends: unknown = options.proxy?.backends;
  if (
    Array.isArray(backends) &&
    backends.length === 2 &&
    backends[0] === backends[1] &&
    backends[0] !== UNKNOWN
  )
    report("proxy.backends", "expected two different backends");
  if (Array.isArray(options.servers)) {
    const names = options.servers.map((one) => one.name).filter((name) => name !== UNKNOWN);
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined) report("servers", `the name "${twice}" is there twice`);
  }
  const isContainer =
    options.proxy?.runtimeApi === UNKNOWN || /^docker:/.test(options.proxy?.runtimeApi ?? "");
  for (const name of ["configuration", "host"] as const)
    if (options[name] !== undefined && !isContainer) report(name, "needs a proxy.runtimeApi of docker://…");
  if (options.certificates !== undefined && options.configuration === undefined)
    report("certificates", "needs `configuration`: it is the configuration that names them");
  return problems;
}
