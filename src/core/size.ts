const UNITS: Record<string, number> = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };
const PATTERN = /^(\d+(?:\.\d+)?) ?(B|KB|MB|GB|TB)$/;

/** An amount of data as text: `"10GB"`, `"500MB"`, in powers of 1000. */
export type Size = string;

export function isSize(text: string): boolean {
  return PATTERN.test(text);
}

export function parseSize(text: Size): number {
  const [, number, unit] = PATTERN.exec(text) ?? [];
  if (number === undefined || unit === undefined)
    throw new Error(`"${text}" is not an amount of data such as "10GB" or "500MB"`);
  return Number(number) * (UNITS[unit] ?? 1);
}

/** For people: `1.5 MB`, in powers of 1000. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
