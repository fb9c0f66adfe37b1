/** A process that takes a lock: `hold <lock>` keeps it, `count <lock> <file>` adds 5 to a number, one by one. */
import * as fs from "node:fs";
import { takeLock, withLock } from "../../src/core/lock";

const never = new AbortController().signal;

async function main([role, file = "", counter = ""]: string[]): Promise<void> {
  if (role === "hold") {
    await takeLock(file, never);
    process.send?.("held");
    setInterval(() => undefined, 1000);
    return;
  }
  for (let round = 0; round < 5; round++)
    await withLock(file, never, async () => {
      const before = Number(fs.readFileSync(counter, "utf8"));
      await new Promise(setImmediate);
      fs.writeFileSync(counter, String(before + 1));
    });
  process.disconnect();
}

void main(process.argv.slice(2));
