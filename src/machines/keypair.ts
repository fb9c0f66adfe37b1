import { utils } from "ssh2";

/** Sizes of Packer's keys; that of ed25519 is fixed. */
const DEFAULT_BITS = { ecdsa: 521, rsa: 4096 };

export type KeyPairType = "ed25519" | "ecdsa" | "rsa";

/** A key pair for one build. */
export interface KeyPair {
  /** One line, for `authorized_keys`; it ends in the comment, by which it is found again. */
  publicKey: string;
  /** In OpenSSH's form: a secret. */
  privateKey: string;
}

/** Makes a new key pair in memory. The comment names the build, so that the key's line can be removed from the machine. */
export function createKeyPair(
  comment: string,
  { type = "ed25519", bits }: { type?: KeyPairType; bits?: number } = {},
): Promise<KeyPair> {
  return new Promise((resolve, reject) => {
    const done = (error: Error | null, pair?: { public: string; private: string }): void => {
      if (pair) resolve({ publicKey: pair.public, privateKey: pair.private });
      else
        reject(
          new Error(
            `Making a key pair (${type}${bits === undefined ? "" : `, ${bits} bits`}): ${error?.message}`,
            {
              cause: error,
            },
          ),
        );
    };
    try {
      if (type === "ed25519") utils.generateKeyPair(type, { comment }, done);
      else utils.generateKeyPair(type, { comment, bits: bits ?? DEFAULT_BITS[type] } as never, done);
    } catch (error) {
      done(error as Error);
    }
  });
}
