/** Packer's language for what is typed into a machine that boots: text, `<enter>`, `<wait5>`, `<leftCtrlOn>c<leftCtrlOff>`. */
import { renderTemplate } from "../core/template";
import { findCharacterKey, findNamedKey, findSimilarName, type Key } from "./boot-keys";

/** One key that goes down or up. */
export interface KeyEvent {
  /** QEMU's name of the key (QKeyCode), e.g. "a", "ret", "shift", "f12", "spc". */
  code: string;
  down: boolean;
}

/** What to do next: the events of one key with its shift, or to wait. */
export type BootAction = { keys: KeyEvent[] } | { waitMs: number };

/** What cannot be typed, and where. */
export interface BootCommandProblem {
  /** Number of the text. */
  index: number;
  /** Number of the character in it, from 0. */
  at: number;
  reason: string;
}

/** Template values that a platform fills in. */
export const BOOT_COMMAND_VALUES: readonly string[] = ["HTTPIP", "HTTPPort", "Name", "SSHPublicKey"];

type Token =
  | { kind: "key"; code: string; state: KeyState }
  | { kind: "character"; key: Key; state: KeyState }
  | { kind: "wait"; waitMs: number }
  | { kind: "value"; name: string; template: string }
  | { kind: "problem"; reason: string };

type KeyState = "press" | "on" | "off";

const TEMPLATE = /\{\{\s*\.(\w+)\s*\}\}/y;
const BRACKETED = /<([a-z0-9]+)>/iy;
const CHARACTER_TOGGLE = /<(.)(on|off)>/isuy;
const WAIT = /<wait([^<>]*)>/iy;
const GO_UNITS_MS: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1e3,
  m: 60e3,
  h: 3600e3,
};

/**
 * What to type, one action per character or key. Values are typed as they are: a `<` in one begins no key name. What
 * stands in brackets and is no key's name is typed too, as Packer does.
 */
export function parseBootCommand(texts: readonly string[], values: Record<string, string>): BootAction[] {
  const problems = findBootCommandProblems(texts, Object.keys(values));
  if (problems[0]) throw new Error(`Boot command: ${describeProblem(texts, problems[0])}`);
  return texts.flatMap((text) =>
    tokenize(text).flatMap(({ token }) => (token.kind === "value" ? typeValue(token, values) : act(token))),
  );
}

/** Everything in these texts that cannot be typed, found without the values: only their names need to be known. */
export function findBootCommandProblems(
  texts: readonly string[],
  valueNames: readonly string[] = BOOT_COMMAND_VALUES,
): BootCommandProblem[] {
  return texts.flatMap((text, index) =>
    tokenize(text).flatMap(({ token, at }) => {
      if (token.kind === "problem") return { index, at, reason: token.reason };
      if (token.kind !== "value" || valueNames.includes(token.name)) return [];
      const known = valueNames.map((name) => `{{ .${name} }}`).join(", ");
      return { index, at, reason: `${token.template} has no value here. These have one: ${known}` };
    }),
  );
}

function describeProblem(texts: readonly string[], { index, at, reason }: BootCommandProblem): string {
  const near = texts[index]?.slice(Math.max(0, at - 10), at + 20) ?? "";
  return `text ${index + 1}, character ${at + 1} (near ${JSON.stringify(near)}): ${reason}`;
}

function tokenize(text: string): { token: Token; at: number }[] {
  const tokens: { token: Token; at: number }[] = [];
  for (let at = 0; at < text.length;) {
    const { token, length } = readToken(text, at);
    tokens.push({ token, at });
    at += length;
  }
  return tokens;
}

function readToken(text: string, at: number): { token: Token; length: number } {
  const wait = matchAt(WAIT, text, at);
  if (wait) {
    const token = readWait(wait[1] ?? "");
    if (token) return { token, length: wait[0].length };
  }
  const toggle = matchAt(CHARACTER_TOGGLE, text, at);
  if (toggle) {
    const state = toggle[2]?.toLowerCase() === "on" ? "on" : "off";
    return { token: readCharacter(toggle[1] ?? "", state), length: toggle[0].length };
  }
  const bracketed = matchAt(BRACKETED, text, at);
  if (bracketed) {
    const token = readName(bracketed[1] ?? "");
    if (token) return { token, length: bracketed[0].length };
  }
  const template = matchAt(TEMPLATE, text, at);
  if (template)
    return {
      token: { kind: "value", name: template[1] ?? "", template: template[0] },
      length: template[0].length,
    };
  const character = String.fromCodePoint(text.codePointAt(at) ?? 0);
  return { token: readCharacter(character, "press"), length: character.length };
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

/** `5` is seconds, `1m30s` as in Go; undefined for other words that begin with "wait". */
function readWait(amount: string): Token | undefined {
  if (amount === "") return { kind: "wait", waitMs: 1000 };
  if (!/^-?[\d.]/.test(amount)) return undefined;
  const waitMs = /^\d+$/.test(amount) ? Number(amount) * 1000 : parseGoDuration(amount);
  if (waitMs !== undefined && waitMs > 0) return { kind: "wait", waitMs };
  return { kind: "problem", reason: `<wait${amount}> is no time to wait, such as <wait5> or <wait1m30s>` };
}

function parseGoDuration(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  return [...text.matchAll(/(\d+(?:\.\d+)?)([a-zµ]+)/g)].reduce(
    (sum, [, number, unit]) => sum + Number(number) * (GO_UNITS_MS[unit ?? ""] ?? 0),
    0,
  );
}

/** Undefined for a word that only happens to stand in brackets. */
function readName(word: string): Token | undefined {
  const whole = findNamedKey(word);
  if (whole !== undefined) return { kind: "key", code: whole, state: "press" };
  const [, name = word, ending] = /^(.+?)(on|off)$/i.exec(word) ?? [];
  const code = findNamedKey(name);
  if (code !== undefined && ending !== undefined)
    return { kind: "key", code, state: ending.toLowerCase() === "on" ? "on" : "off" };
  // Typed out, a slip would cost a whole installation before anybody sees it.
  const similar = findSimilarName(name) ?? findSimilarName(word);
  return similar === undefined
    ? undefined
    : { kind: "problem", reason: `<${word}> is not a key; did you mean <${similar}>?` };
}

function readCharacter(character: string, state: KeyState): Token {
  const key = findCharacterKey(character);
  return key ? { kind: "character", key, state } : { kind: "problem", reason: describeUntypable(character) };
}

function describeUntypable(character: string): string {
  if (character === "\n" || character === "\r") return "a line break cannot be typed. Write <enter>";
  if (character === "\t") return "a tab cannot be typed. Write <tab>";
  const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
  return `no key of a US keyboard gives ${JSON.stringify(character)} (U+${code}). Write it in another way`;
}

/** Problems were thrown before. */
function act(token: Exclude<Token, { kind: "value" }>): BootAction[] {
  if (token.kind === "wait") return [{ waitMs: token.waitMs }];
  if (token.kind === "key") return [{ keys: moveKey({ code: token.code, shift: false }, token.state) }];
  return token.kind === "character" ? [{ keys: moveKey(token.key, token.state) }] : [];
}

function typeValue({ name, template }: { name: string; template: string }, values: Record<string, string>) {
  return Array.from(renderTemplate(template, values), (character): BootAction => {
    const key = findCharacterKey(character);
    if (!key) throw new Error(`Boot command: the value of {{ .${name} }}: ${describeUntypable(character)}`);
    return { keys: moveKey(key, "press") };
  });
}

/** Shift goes down before the key and up after it. */
function moveKey({ code, shift }: Key, state: KeyState): KeyEvent[] {
  const down = [...(shift ? [{ code: "shift", down: true }] : []), { code, down: true }];
  const up = [{ code, down: false }, ...(shift ? [{ code: "shift", down: false }] : [])];
  if (state === "press") return [...down, ...up];
  return state === "on" ? down : up;
}
