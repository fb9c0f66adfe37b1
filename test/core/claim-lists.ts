/** Lists of claims as short text. */
import type { Claim } from "../../src/core/claims";

export const OWNER = "p/s/0123456789abcdef";
const OTHER = "p/t/fedcba9876543210";

/** `A1:live` is the claim of create 1 on the image of version A; `B2:new@other` one of another resource. */
export function claims(text: string): Claim[] {
  return text
    .split(" ")
    .filter((word) => word !== "")
    .map((word) => {
      const [, version = "", sequence = "", state = "", other] =
        /^(\w)(\d+):(\w+)(@other)?$/.exec(word) ?? [];
      return {
        owner: other ? OTHER : OWNER,
        fingerprint: fingerprintOf(version),
        id: idOf(sequence),
        state: state as Claim["state"],
        artifactId: version,
      };
    });
}

export function fingerprintOf(version: string): string {
  return `k1:${Buffer.from(version).toString("hex").padEnd(64, "0")}`;
}

export function idOf(sequence: string | number): string {
  return `${sequence}-beef`;
}

export function show(list: readonly Claim[]): string {
  return list
    .map(
      ({ artifactId, id, state, owner }) =>
        `${artifactId}${parseInt(id)}:${state}${owner === OTHER ? "@other" : ""}`,
    )
    .join(" ");
}
