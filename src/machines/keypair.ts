import { utils } from "ssh2";

/** Sizes of Packer's keys; that of ed25519 is fixed. */
const DEFAULT_BITS = { ecdsa: 521, rsa: 4096 };

const MOST_TRIES = 10;

export type KeyPairType = "ed25519" | "ecdsa" | "rsa";

/** A key pair for one build. */
export interface KeyPair {
  /** One line, for `authorized_keys`; it ends in the comment, by which it is found again. */
  publicKey: string;
  /** In OpenSSH's form: a secret. */
  privateKey: string;
}

interface KeyPairOptions {
  type?: KeyPairType;
  bits?: number;
}

/** Makes a new key pair in memory. The comment names the build, so that the key's line can be removed from the machine. */
export async function createKeyPair(comment: string, options: KeyPairOptions = {}): Promise<KeyPair> {
  const { type = "ed25519", bits } = options;
  const title = `Making a key pair (${type}${bits === undefined ? "" : `, ${bits} bits`})`;
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    let pair: KeyPair;
    try {
      pair = await generateKeyPair(comment, type, bits);
    } catch (error) {
      throw new Error(`${title}: ${(error as Error).message}`, { cause: error });
    }
    if (isReadable(pair.publicKey) && isReadable(pair.privateKey)) return pair;
  }
  throw new Error(`${title}: ${MOST_TRIES} in a row cannot be read. Reinstall the library ssh2`);
}

function generateKeyPair(comment: string, type: KeyPairType, bits: number | undefined): Promise<KeyPair> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, pair?: { public: string; private: string }): void => {
      if (pair) resolve({ publicKey: pair.public, privateKey: pair.private });
      else reject(error ?? new Error("nothing came"));
    };
    if (type === "ed25519") utils.generateKeyPair(type, { comment }, done);
    else utils.generateKeyPair(type, { comment, bits: bits ?? DEFAULT_BITS[type] } as never, done);
  });
}

/** The library drops zeros that a public key of ed25519 begins with: one in 256 is too short, and nobody can read it. */
function isReadable(key: string): boolean {
  return !(utils.parseKey(key) instanceof Error);
}
