import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import * as http from "node:http";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { Transport } from "./address";

/** Where `ssh://` leads; the part of the address after the scheme. */
export type SshTarget = Extract<Transport, { kind: "ssh" }>;

/**
 * An HTTP agent whose connections are `ssh … docker system dial-stdio`, as those of the `docker` command are.
 * The program rather than a library: it checks host keys, and knows the user's ssh config, agent and keys.
 */
export class SshAgent extends http.Agent {
  constructor(private readonly target: SshTarget) {
    super({ keepAlive: true });
  }

  override createConnection(): Duplex {
    return new SshConnection(this.target);
  }
}

/** The arguments of `ssh` for a target; the remote command is fixed, but for the socket it should open. */
export function makeSshArguments({ host, port, user, socketPath }: SshTarget): string[] {
  const remote = socketPath ? ["docker", "--host", quoteForShell(`unix://${socketPath}`)] : ["docker"];
  return [
    // There is no terminal that could be asked for a password.
    ...["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30"],
    ...(port ? ["-p", String(port)] : []),
    ...(user ? ["-l", user] : []),
    ...["--", host],
    ...[...remote, "system", "dial-stdio"],
  ];
}

/** One connection: what is written goes to the program's stdin, what it prints is read. */
class SshConnection extends Duplex {
  private readonly child: ChildProcessWithoutNullStreams;
  private stderr = "";

  constructor(target: SshTarget) {
    super({ allowHalfOpen: true });
    this.child = spawn("ssh", makeSshArguments(target), { stdio: "pipe", windowsHide: true });
    this.child.stdout.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) this.child.stdout.pause();
    });
    this.child.stderr.on(
      "data",
      (chunk: Buffer) => (this.stderr = (this.stderr + chunk.toString()).slice(-1000)),
    );
    // A write after the program's end fails here; the reason comes with "close".
    this.child.stdin.on("error", () => undefined);
    this.child.on("error", (error: NodeJS.ErrnoException) => this.destroy(explainSpawn(error)));
    this.child.on("close", (code) => {
      if (code === 0) this.push(null);
      else this.destroy(new Error(`ssh ended with code ${code}: ${this.stderr.trim() || "it said nothing"}`));
    });
  }

  override _read(): void {
    this.child.stdout.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.child.stdin.write(chunk, () => done());
  }

  override _final(done: (error?: Error | null) => void): void {
    this.child.stdin.end(() => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.child.kill();
    done(error);
  }

  // What Node's agent calls on a socket. Keep-alive, delay and timeout are ssh's own matters.
  setKeepAlive = (): this => this;
  setNoDelay = (): this => this;
  setTimeout = (): this => this;

  ref(): this {
    for (const part of this.parts()) part.ref();
    return this;
  }

  unref(): this {
    for (const part of this.parts()) part.unref();
    return this;
  }

  private parts(): { ref(): void; unref(): void }[] {
    const { stdin, stdout, stderr } = this.child;
    return [this.child, ...([stdin, stdout, stderr] as unknown as Socket[])];
  }
}

function explainSpawn(error: NodeJS.ErrnoException): Error {
  if (error.code !== "ENOENT") return error;
  return new Error("the program `ssh` was not found. Install OpenSSH's client", { cause: error });
}

/** sshd hands the command to the remote user's shell. */
function quoteForShell(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
