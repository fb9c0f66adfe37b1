/** An SSH server in this process, that runs commands in a real shell unless it is told to behave badly. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { TestContext } from "node:test";
import { Server, type Connection, type ServerChannel, type Session } from "ssh2";
import { createKeyPair } from "../../src/machines/keypair";

export interface FakeSshdOptions {
  hostKey?: string;
  /** Refuses commands, or answers them itself: true if it did. */
  onExec?: (command: string, accept: () => ServerChannel) => "refuse" | "run" | "answered";
  /** What comes before the shell, e.g. a PATH without tar. */
  environment?: NodeJS.ProcessEnv;
  password?: string;
  /** Sees each connection when it is let in. */
  onReady?: (connection: Connection) => void;
}

export interface FakeSshd {
  port: number;
  username: string;
  readonly commands: string[];
  readonly logins: number;
}

export async function makeHostKey(): Promise<string> {
  return (await createKeyPair("fake-sshd")).privateKey;
}

/** Lets everybody in with the password "right"; SFTP is refused. */
export async function startFakeSshd(
  test: TestContext,
  options: FakeSshdOptions = {},
  port = 0,
): Promise<FakeSshd> {
  const commands: string[] = [];
  const connections = new Set<Connection>();
  let logins = 0;
  const server = new Server({ hostKeys: [options.hostKey ?? (await makeHostKey())] }, (connection) => {
    connections.add(connection);
    connection.on("error", () => undefined).on("close", () => connections.delete(connection));
    connection.on("authentication", (context) => {
      if (context.method === "password" && context.password === (options.password ?? "right"))
        context.accept();
      else context.reject(["password"]);
    });
    connection.on("ready", () => {
      logins++;
      options.onReady?.(connection);
      connection.on("session", (accept) => serve(accept()));
    });
  });
  const serve = (session: Session): void => {
    session.on("exec", (accept, reject, { command }) => {
      commands.push(command);
      const decision = options.onExec?.(command, accept) ?? "run";
      if (decision === "refuse") reject();
      else if (decision === "run") runShell(command, accept(), options.environment);
    });
    session.on("signal", (accept) => accept?.());
  };
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  test.after(() => {
    for (const connection of connections) connection.end();
    server.close();
  });
  return {
    port: (server.address() as { port: number }).port,
    username: "tester",
    commands,
    get logins() {
      return logins;
    },
  };
}

function runShell(command: string, channel: ServerChannel, environment: NodeJS.ProcessEnv = {}): void {
  const child = spawn("/bin/sh", ["-c", command], { env: { ...process.env, ...environment } });
  child.stdin.on("error", () => undefined); // the command need not read
  channel.on("error", () => undefined);
  channel.pipe(child.stdin);
  child.stdout.pipe(channel, { end: false });
  child.stderr.pipe(channel.stderr, { end: false });
  child.on("close", (code) => {
    channel.exit(code ?? 137);
    channel.end();
  });
}
