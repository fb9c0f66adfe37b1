/** Programs by others that read the images: xorriso, isoinfo, mtools and fsck.fat. */
import { execFileSync } from "node:child_process";

/** Why they are not here, or false; in CI they must be. */
export function missingReaders(): string | false {
  if (process.env["KILN_MEDIA_READERS"]) return false;
  if (process.env["CI"] === "true")
    throw new Error("KILN_MEDIA_READERS is not set: run the tests by `npm test`");
  return "KILN_MEDIA_READERS is not set";
}

/** What a program prints. */
export function runReader(program: string, ...args: string[]): string {
  const PATH = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;
  return execFileSync(program, args, {
    encoding: "utf8",
    env: { ...process.env, PATH, LC_ALL: "C.UTF-8", MTOOLS_SKIP_CHECK: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
}
