const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const PATTERN = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$/;

/** A length of time as text: `"30m"`, `"1h30m"`, `"500ms"`. Same form as Packer's, and `"30d"`. */
export type Duration = string;

export function isDuration(text: string): boolean {
  return PATTERN.test(text);
}

/** In whole milliseconds. */
export function parseDuration(text: Duration): number {
  if (!isDuration(text)) throw new Error(`"${text}" is not a duration such as "30m" or "1h30m"`);
  let milliseconds = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    milliseconds += Number(number) * (UNITS[unit ?? ""] ?? 0);
  }
  return Math.round(milliseconds); // 1.1 h are 3960000.0000000005
}

/** For people: `850ms`, `4.2s`, `3m05s`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)}ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)}s`;
  const seconds = Math.round(milliseconds / 1000);
  return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, "0")}s`;
}
