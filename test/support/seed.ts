/**
 * Loaded before each file of tests. A run in CI is the same each time: what a new random case finds there would stop a change
 * that has nothing to do with it. On a laptop each run looks elsewhere; `KILN_SEED` repeats one.
 */
import * as fc from "fast-check";

const given = process.env["KILN_SEED"] ?? (process.env["CI"] === "true" ? "20261123" : undefined);

/** Where random cases begin. */
export const SEED = given === undefined ? Math.floor(Math.random() * 1e9) : Number(given);

if (given !== undefined) fc.configureGlobal({ seed: SEED });
