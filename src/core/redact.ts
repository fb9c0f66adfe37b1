import { Buffer } from "node:buffer";

const MASK = "[secret]";
/** Shorter values would mask half of every log; the check warns about them. */
export const SHORTEST_SECRET = 4;
const WRAPPED_LINE_LENGTHS = [76, 64];

/** Replaces secrets, and their usual encodings, in text. */
export interface Redactor {
  redact(text: string): string;
}

/** What finds these values and their usual encodings, in text or in bytes read as latin1; undefined without values, or if one is too short to be told from other text. */
export function createSecretPattern(secrets: Iterable<string>): RegExp | undefined {
  const values = [...secrets];
  if (values.length === 0 || values.some((value) => value.length < SHORTEST_SECRET)) return undefined;
  const variants = new Set(
    values.flatMap(encodeSecret).filter((variant) => variant.length >= SHORTEST_SECRET),
  );
  const bytes = [...variants].flatMap((variant) => [variant, Buffer.from(variant).toString("latin1")]);
  return new RegExp([...new Set(bytes)].map(escapePattern).join("|"));
}

/** A redactor for these values: raw, base64 (alone or inside a longer text), hexadecimal, URL-, JSON- and shell-quoted, and each line of a value of several lines. */
export function createRedactor(secrets: Iterable<string>): Redactor {
  const variants = new Set<string>();
  for (const secret of secrets) {
    for (const variant of encodeSecret(secret)) if (variant.length >= SHORTEST_SECRET) variants.add(variant);
  }
  if (variants.size === 0) return { redact: (text) => text };
  // Longest first: a longer variant must not be broken up by a shorter one inside it.
  const alternatives = [...variants].sort((a, b) => b.length - a.length).map(escapePattern);
  const pattern = new RegExp(alternatives.join("|"), "g");
  return { redact: (text) => text.replace(pattern, MASK) };
}

function encodeSecret(secret: string): string[] {
  const values = [secret, ...secret.split(/\r?\n/)].filter((value) => value.length >= SHORTEST_SECRET);
  return values.flatMap((value) => [
    value,
    ...encodeAsBase64(value),
    Buffer.from(value).toString("hex"),
    Buffer.from(value).toString("hex").toUpperCase(),
    ...encodeForUrl(value),
    JSON.stringify(value).slice(1, -1),
    JSON.stringify(JSON.stringify(value).slice(1, -1)).slice(1, -1),
    JSON.stringify(value).slice(1, -1).replaceAll("/", "\\/"),
    value.replaceAll("'", `'"'"'`),
    value.replaceAll("'", `'\\''`),
    value.replace(/[^\w@%+=:,./-]/g, "\\$&"),
  ]);
}

function encodeForUrl(value: string): string[] {
  const encoded = encodeURIComponent(value);
  const strict = encoded.replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  const all = [
    encoded,
    strict,
    encoded.replaceAll("%20", "+"),
    strict.replaceAll("%20", "+"),
    encodeURI(value),
  ];
  return [...all, ...all.map((text) => text.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()))];
}

/** Base64 of a value that starts at each of the three positions within a group of three bytes, less the characters that depend on the neighbours. */
function encodeAsBase64(value: string): string[] {
  const found: string[] = [];
  const bytes = Buffer.from(value);
  for (const offset of [0, 1, 2]) {
    const padded = Buffer.concat([Buffer.alloc(offset), bytes]);
    const usable = Math.floor((padded.length * 8) / 6);
    const text = padded.toString("base64").slice(offset === 0 ? 0 : offset + 1, usable);
    found.push(text, text.replaceAll("+", "-").replaceAll("/", "_"));
  }
  const whole = bytes.toString("base64");
  found.push(whole, whole.replaceAll("+", "-").replaceAll("/", "_"));
  for (const length of WRAPPED_LINE_LENGTHS) {
    if (whole.length > length)
      found.push(...(whole.match(new RegExp(`.{${SHORTEST_SECRET},${length}}`, "g")) ?? []));
  }
  return found;
}

function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
