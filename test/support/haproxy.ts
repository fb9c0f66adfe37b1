/** A real HAProxy process with two backends and a map, and programs behind it. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { SocketTransport } from "../../src/rollout/switch/runtime-transport";
import { never } from "./docker";

/** Why there is none here, or false. */
export function missingHaproxy(): string | false {
  return process.env["KILN_HAPROXY"] || process.env["CI"] === "true" ? false : "KILN_HAPROXY is not set";
}

export interface HaproxyProcess {
  /** Of the program; of its runtime API; of its master process. */
  url: string;
  runtimeApi: string;
  map: string;
  restart(): Promise<void>;
  /** Lets a new process take over. */
  reload(): void;
  stop(): Promise<void>;
}

/** With a health check of `/healthz`; `strangers` are lines of the backend blue. */
export async function startHaproxy(strangers = ""): Promise<HaproxyProcess> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-haproxy-"));
  const port = await findFreePort();
  const map = path.join(folder, "live.map");
  const socket = path.join(folder, "api.sock");
  const config = path.join(folder, "haproxy.cfg");
  fs.writeFileSync(map, "live blue\n");
  fs.writeFileSync(
    config,
    `defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
backend blue
  option httpchk GET /healthz
${strangers}
backend green
  option httpchk GET /healthz
frontend fe
  bind 127.0.0.1:${port}
  use_backend %[str(live),map(${map},blue)]
`,
  );
  const program = process.env["KILN_HAPROXY"] ?? "haproxy";
  const launch = async (): Promise<ReturnType<typeof spawn>> => {
    fs.rmSync(socket, { force: true });
    const child = spawn(program, ["-W", "-db", "-S", socket, "-f", config], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let text = "";
    child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
    while (!(await answers(transport)))
      if (child.exitCode !== null) throw new Error(`haproxy ended:\n${text}`);
    return child;
  };
  const transport = new SocketTransport(`unix://${socket}`, { path: socket });
  let child = await launch();
  const end = async (): Promise<void> => {
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await ended;
  };
  return {
    url: `http://127.0.0.1:${port}`,
    runtimeApi: `unix://${socket}`,
    map,
    async restart() {
      await end();
      child = await launch();
    },
    reload: () => void execFileSync("kill", ["-USR2", String(child.pid)]),
    async stop() {
      await end();
      fs.rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A master process does not at once answer for its worker. */
async function answers(transport: SocketTransport): Promise<boolean> {
  try {
    return (await transport.send("@1 show info", never)).startsWith("Name: HAProxy");
  } catch {
    return false; // asked again by the caller
  }
}

export async function findFreePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A program that says its name; `/open` is answered when the test says so. */
export interface Program {
  port: number;
  isHealthy: boolean;
  /** Requests that wait. */
  waiting: http.ServerResponse[];
  stop(): Promise<void>;
}

export async function startProgram(name: string, isHealthy = true): Promise<Program> {
  const waiting: http.ServerResponse[] = [];
  const server = http.createServer((request, response) => {
    if (request.url === "/healthz") response.writeHead(program.isHealthy ? 200 : 503).end();
    else if (request.url === "/open") waiting.push(response);
    else response.end(name);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const program: Program = {
    port: (server.address() as AddressInfo).port,
    isHealthy,
    waiting,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return program;
}
