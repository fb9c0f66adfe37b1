/** One upload in a process of its own: `ssh-upload.js '{"port":…}'` prints its time, connecting included, and its peak memory. */
import { connectSsh } from "../src/communicators/ssh";

interface Request {
  port: number;
  username: string;
  keyFile: string;
  source: string;
  destination: string;
}

async function main(): Promise<void> {
  const request = JSON.parse(process.argv[2] ?? "{}") as Request;
  const { signal } = new AbortController();
  const startedAt = performance.now();
  const machine = await connectSsh(
    { sshUsername: request.username, sshPrivateKeyFile: request.keyFile },
    {
      findAddress: () => Promise.resolve({ host: "127.0.0.1", port: request.port }),
      cwd: "/",
      signal,
      log: { progress: () => undefined, info: () => undefined },
    },
  );
  await machine.upload({ path: request.source }, request.destination, signal);
  await machine.close();
  const milliseconds = performance.now() - startedAt;
  console.log(JSON.stringify({ milliseconds, peakMegabytes: process.resourceUsage().maxRSS / 1024 }));
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
