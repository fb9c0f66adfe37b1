import { readFile } from "node:fs/promises";
import { utils, type AnyAuthMethod, type NextAuthHandler, type ParsedKey } from "ssh2";
import { certifyKey } from "./ssh-certificate";

/** What one machine, or the bastion before it, is shown to be let in. */
export interface SshCredentials {
  username: string;
  password?: string;
  /** Text of private keys, in the order in which they are tried. */
  privateKeys: readonly string[];
  /** The first of the keys with its certificate. */
  certified?: ParsedKey;
  /** Socket of an agent. */
  agent?: string;
}

interface CredentialOptions {
  username: string;
  password?: string;
  privateKeyFile?: string;
  certificateFile?: string;
  agentAuth?: boolean;
}

/** Reads the files that the options name; `privateKey` is one made for this build. */
export async function readCredentials(
  options: CredentialOptions,
  resolve: (file: string) => string,
  privateKey?: string,
): Promise<SshCredentials> {
  const { username, password } = options;
  const key = options.privateKeyFile && (await readKey(resolve(options.privateKeyFile)));
  const certificate = options.certificateFile && (await readText(resolve(options.certificateFile)));
  const agent = options.agentAuth ? process.env["SSH_AUTH_SOCK"] : undefined;
  if (options.agentAuth && !agent)
    throw new Error(
      "Asking the SSH agent for keys: SSH_AUTH_SOCK is not set. Start an agent and add a key to it",
    );
  return {
    username,
    password,
    privateKeys: [key, privateKey].filter((text): text is string => Boolean(text)),
    certified: key && certificate ? certifyKey(key, certificate, options.certificateFile ?? "") : undefined,
    agent,
  };
}

async function readKey(file: string): Promise<string> {
  const text = await readText(file);
  const key = utils.parseKey(text);
  if (key instanceof Error) {
    const encrypted = /encrypted|passphrase/i.test(key.message);
    const advice = encrypted ? "Add it to an agent and set `sshAgentAuth`" : "Is it a private key?";
    throw new Error(`Reading the private key ${file}: ${key.message}. ${advice}`, { cause: key });
  }
  const [first] = (Array.isArray(key) ? key : [key]) as ParsedKey[];
  if (!first?.isPrivateKey())
    throw new Error(`Reading the private key ${file}: it holds a public key. Name the private one`);
  return text;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new Error(`Reading ${file}: ${(error as Error).message}`, { cause: error });
  }
}

/** Everything that may be tried, in Packer's order: agent, keys, password, prompts answered by the password. */
export function listMethods(credentials: SshCredentials): AnyAuthMethod[] {
  const { username, password, privateKeys, agent, certified } = credentials;
  const methods: AnyAuthMethod[] = [];
  if (agent) methods.push({ type: "agent", username, agent });
  if (certified) methods.push({ type: "publickey", username, key: certified });
  for (const key of privateKeys) methods.push({ type: "publickey", username, key });
  if (password !== undefined) {
    methods.push({ type: "password", username, password });
    methods.push({
      type: "keyboard-interactive",
      username,
      prompt: (_name, _instructions, _language, prompts, finish) => finish(prompts.map(() => password)),
    });
  }
  return methods;
}

/** Tries one after the other, skipping what the server does not want; without asking first, which would cost a round trip. */
export function createAuthHandler(
  methods: readonly AnyAuthMethod[],
): (left: string[] | null, partial: boolean | null, next: NextAuthHandler) => void {
  const waiting = [...methods];
  return (left, _partial, next) => {
    for (let method = waiting.shift(); method !== undefined; method = waiting.shift()) {
      const name = method.type === "agent" ? "publickey" : method.type;
      if (left && !left.includes(name)) continue;
      return next(method);
    }
    next(false as never);
  };
}
