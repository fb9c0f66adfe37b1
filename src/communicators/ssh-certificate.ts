import { sign } from "node:crypto";
import { utils, type Client, type ParsedKey } from "ssh2";

const USERAUTH_REQUEST = 50;
const SUFFIX = "-cert-v01@openssh.com";
/** By the kind of the key: what its signatures are called, and how they are made. */
const SIGNATURES: Record<string, { name: string; hash: string | null }> = {
  "ssh-ed25519": { name: "ssh-ed25519", hash: null },
  "ssh-rsa": { name: "rsa-sha2-512", hash: "sha512" },
  "ecdsa-sha2-nistp256": { name: "ecdsa-sha2-nistp256", hash: "sha256" },
  "ecdsa-sha2-nistp384": { name: "ecdsa-sha2-nistp384", hash: "sha384" },
  "ecdsa-sha2-nistp521": { name: "ecdsa-sha2-nistp521", hash: "sha512" },
};

/** A private key that is shown as the certificate (a line of `…-cert.pub`) says. The library takes it as a key of its own making. */
export function certifyKey(privateKey: string, certificate: string, where: string): ParsedKey {
  const parsed = utils.parseKey(privateKey);
  const [key] = Array.isArray(parsed) ? (parsed as ParsedKey[]) : [parsed];
  if (!key || key instanceof Error)
    throw new Error(`Reading the key of ${where}: ${key?.message ?? "there is none"}`);
  const [kind, text] = certificate.trim().split(/\s+/);
  const signature = SIGNATURES[key.type];
  if (text === undefined || !kind?.endsWith(SUFFIX))
    throw new Error(
      `Reading the certificate ${where}: expected a line that begins with a kind such as ssh-ed25519${SUFFIX}`,
    );
  const blob = Buffer.from(text, "base64");
  // The key's own numbers stand in the certificate, after its kind and a nonce.
  const numbers = key.getPublicSSH().subarray(4 + key.type.length);
  if (signature === undefined || !blob.includes(numbers))
    throw new Error(`Reading the certificate ${where}: it is not that of the private key`);
  return Object.create(key, {
    type: { value: `${signature.name}${SUFFIX}` },
    getPublicSSH: { value: () => blob },
    sign: { value: (data: Buffer) => signData(key, data, signature.hash) },
  }) as ParsedKey;
}

interface Packets {
  alloc(size: number): Buffer;
  finalize(packet: Buffer, force?: boolean): Buffer;
  allocStart: number;
}

/**
 * The library names a signature as the key that it was asked for, which is the certificate's kind; sshd wants the name
 * of the plain kind there. So the packet is corrected on its way. Call it when the keys have been exchanged: what packs them is new then.
 */
export function correctSignatures(client: Client): void {
  const packets = (client as unknown as { _protocol?: { _packetRW?: { write?: Packets } } })._protocol
    ?._packetRW?.write;
  if (typeof packets?.finalize !== "function" || typeof packets.alloc !== "function")
    throw new Error(
      "Using a certificate: this version of the library ssh2 is not known. Use the agent or a plain key",
    );
  const finalize = packets.finalize.bind(packets);
  packets.finalize = (packet, force) => {
    const payload = packet.subarray(packets.allocStart);
    const corrected = payload[0] === USERAUTH_REQUEST ? correctRequest(payload) : undefined;
    if (!corrected) return finalize(packet, force);
    const copy = packets.alloc(corrected.length);
    corrected.copy(copy, packets.allocStart);
    return finalize(copy, force);
  };
}

/** user, service, method, whether signed, algorithm, key, signature: `undefined` if there is nothing to correct. */
function correctRequest(payload: Buffer): Buffer | undefined {
  let at = 1;
  const next = (): Buffer => {
    const start = at + 4;
    at = start + payload.readUInt32BE(at);
    return payload.subarray(start, at);
  };
  next();
  next();
  if (next().toString() !== "publickey") return undefined;
  const isSigned = payload[at++] === 1;
  const algorithm = next().toString();
  next();
  if (!isSigned || !algorithm.endsWith(SUFFIX)) return undefined;
  const head = payload.subarray(0, at);
  const inner = next();
  const nameBytes = inner.readUInt32BE(0);
  const raw = inner.subarray(4 + nameBytes);
  return Buffer.concat([
    head,
    formatString(Buffer.concat([formatString(algorithm.slice(0, -SUFFIX.length)), raw])),
  ]);
}

function signData(key: ParsedKey, data: Buffer, hash: string | null): Buffer {
  if (!key.type.startsWith("ecdsa")) return sign(hash, data, key.getPrivatePEM());
  const pair = sign(hash, data, { key: key.getPrivatePEM(), dsaEncoding: "ieee-p1363" });
  const half = pair.length / 2;
  return Buffer.concat([formatNumber(pair.subarray(0, half)), formatNumber(pair.subarray(half))]);
}

function formatString(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text as string);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** Positive, as short as can be. */
function formatNumber(bytes: Buffer): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const short = bytes.subarray(start);
  return formatString((short[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.alloc(1), short]) : short);
}
