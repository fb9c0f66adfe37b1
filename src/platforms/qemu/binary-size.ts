const UNITS: Record<string, number> = { "": 2 ** 20, B: 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const PATTERN = /^(\d+(?:\.\d+)?) ?(?:(B|[KMGT])?|([KMGT])i?B)$/i;

/** "8GiB", "8G", "8GB" are the same, and a bare number is in MiB, as with QEMU and Packer. */
export function isBinarySize(text: string): boolean {
  return PATTERN.test(text);
}

export function parseBinarySize(text: string): number {
  const [, number, short, long] = PATTERN.exec(text) ?? [];
  if (number === undefined) throw new Error(`"${text}" is not a size such as "8GiB" or "512MiB"`);
  return Math.round(Number(number) * (UNITS[(short ?? long ?? "").toUpperCase()] ?? 1));
}
