/** Beside the interface, not in it: whoever compiles against that must not have to read zod's types. */
import { z } from "zod";
import { duration, optionsSchema, schemaOf } from "../core/schema";
import type { SshOptions } from "./ssh-options";

const text = z.string().min(1).optional();
const port = z.int().min(1).max(65535).optional();
const tunnels = z
  .array(
    z.string().regex(/^\d{1,5}:(\[[^\]]+\]|[^:]+):\d{1,5}$/, "expected a tunnel such as 8080:localhost:80"),
  )
  .optional();

/** The schema's part for options of a platform that take these too. */
export const sshShape = {
  sshHost: text,
  sshPort: port,
  sshUsername: z.string().min(1),
  sshPassword: text,
  sshPrivateKeyFile: text,
  sshCertificateFile: text,
  sshAgentAuth: z.boolean().optional(),
  sshDisableAgentForwarding: z.boolean().optional(),
  temporaryKeyPairType: z.enum(["ed25519", "ecdsa", "rsa"]).optional(),
  temporaryKeyPairBits: z.int().min(256).optional(),
  sshHostKey: z
    .string()
    .regex(
      /^SHA256:[A-Za-z0-9+/]{43}=?$|(^|\s)(ssh-|ecdsa-)[a-z0-9-]+ [A-Za-z0-9+/=]+/,
      "expected a line of known_hosts, a public key or SHA256:…",
    )
    .optional(),
  sshTimeout: duration.optional(),
  sshHandshakeAttempts: z.int().min(1).optional(),
  pauseBeforeConnecting: duration.optional(),
  sshPty: z.boolean().optional(),
  sshKeepAliveInterval: duration.optional(),
  sshReadWriteTimeout: duration.optional(),
  sshCiphers: z.array(z.string().min(1)).min(1).optional(),
  sshKeyExchangeAlgorithms: z.array(z.string().min(1)).min(1).optional(),
  sshBastionHost: text,
  sshBastionPort: port,
  sshBastionUsername: text,
  sshBastionPassword: text,
  sshBastionPrivateKeyFile: text,
  sshBastionCertificateFile: text,
  sshBastionAgentAuth: z.boolean().optional(),
  sshBastionHostKey: text,
  sshProxyHost: text,
  sshProxyPort: port,
  sshProxyUsername: text,
  sshProxyPassword: text,
  sshLocalTunnels: tunnels,
  sshRemoteTunnels: tunnels,
};

/** Options that lead to the machine and do not shape it: they are left out of the fingerprint. */
export const SSH_NOT_IDENTITY = Object.keys(sshShape).filter((name) => name !== "sshUsername");

/** Paths of local files; the text of none enters the fingerprint. */
export const SSH_PATH_OPTIONS = [
  "sshPrivateKeyFile",
  "sshCertificateFile",
  "sshBastionPrivateKeyFile",
  "sshBastionCertificateFile",
] as const;

/** What a schema that takes these options must check across them. */
export const checkSshOptions: z.core.CheckFn<Partial<SshOptions>> = (context) => {
  const options = context.value;
  const problem = (message: string): void =>
    void context.issues.push({ code: "custom", input: options, message });
  if (options.sshBastionHost !== undefined && options.sshProxyHost !== undefined)
    problem("expected at most one of `sshBastionHost` and `sshProxyHost`");
  if (options.sshCertificateFile !== undefined && options.sshPrivateKeyFile === undefined)
    problem("`sshCertificateFile` needs its key: set `sshPrivateKeyFile`");
  const bastionKey = options.sshBastionPrivateKeyFile ?? options.sshPrivateKeyFile;
  if (options.sshBastionCertificateFile !== undefined && bastionKey === undefined)
    problem("`sshBastionCertificateFile` needs its key: set `sshBastionPrivateKeyFile`");
  if (
    options.sshBastionHost !== undefined &&
    !options.sshBastionAgentAuth &&
    (options.sshBastionPassword ?? bastionKey) === undefined
  )
    problem(
      "`sshBastionHost` needs one of `sshBastionPassword`, `sshBastionPrivateKeyFile`, `sshBastionAgentAuth`",
    );
};

/** Proves that the interface and the shape have the same options; of use where nothing but SSH is configured. */
export const sshSchema = schemaOf<SshOptions>()(optionsSchema(sshShape).check(checkSshOptions));
