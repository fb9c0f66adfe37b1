import { createHash } from "node:crypto";

/** Key algorithms to ask for, by the kind of a known key: another kind would look like another machine. */
const ALGORITHMS: Record<string, string[]> = {
  "ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"],
};

/** What stands in the way of a connection, and will the next time. */
export class HopelessError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "HopelessError";
  }
}

/** The one host key that a machine may show: given, or learned at the first connection. */
export class HostKeyPin {
  private known: Buffer | undefined;
  private readonly fingerprint: string | undefined;
  private readonly isGiven: boolean;

  /** `given` is a line of `known_hosts`, a public key, or `SHA256:…`. */
  constructor(given?: string) {
    this.isGiven = given !== undefined;
    if (given === undefined) return;
    if (given.startsWith("SHA256:")) {
      this.fingerprint = given.replace(/=+$/, "");
      return;
    }
    const blob = /(?:^|\s)(?:ssh-|ecdsa-)[a-z0-9-]+ ([A-Za-z0-9+/=]+)/.exec(given)?.[1];
    if (blob === undefined)
      throw new Error(`Reading the host key "${given}": expected a line of known_hosts or SHA256:…`);
    this.known = Buffer.from(blob, "base64");
  }

  /** As in `known_hosts`, without the name; undefined before the first connection. */
  get publicKey(): string | undefined {
    return this.known && `${readKeyType(this.known)} ${this.known.toString("base64")}`;
  }

  get algorithms(): string[] | undefined {
    if (this.known === undefined) return undefined;
    const type = readKeyType(this.known);
    return ALGORITHMS[type] ?? [type];
  }

  /** Learns the first key; what is wrong with another one. */
  check(key: Buffer, where: string): HopelessError | undefined {
    const expected = this.known ? fingerprintKey(this.known) : this.fingerprint;
    if (expected === undefined || expected === fingerprintKey(key)) {
      this.known = Buffer.from(key);
      return undefined;
    }
    const known = this.isGiven ? "the given one is" : "at the first connection it was";
    return new HopelessError(
      `Connecting to ${where}: its host key is ${readKeyType(key)} ${fingerprintKey(key)}, but ${known} ${expected}. ` +
        "Another machine answers there, or its keys were made anew during the build",
    );
  }
}

/** As OpenSSH shows it. */
export function fingerprintKey(key: Buffer): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

function readKeyType(key: Buffer): string {
  return key.toString("latin1", 4, 4 + key.readUInt32BE(0));
}
