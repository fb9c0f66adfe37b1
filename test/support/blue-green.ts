/** A stack with a `DockerBlueGreen`: the application and the proxy's image are built by the stack itself. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { findFreePort } from "./haproxy";
import { createStack, type Stack } from "./stack";

const REPOSITORY = path.resolve(__dirname, "..", "..", "..");

const SOURCE = `
const fs = require("fs");
const kiln = require("pulumi-kiln");
const { DockerBlueGreen } = require("pulumi-kiln/rollout/docker");
const { image: base, listen, ...args } = JSON.parse(fs.readFileSync("program.json", "utf8"));
const app = new kiln.docker.Image("app", {
  image: base,
  provisioners: [kiln.file({ source: "app/", destination: "/app" })],
  changes: ['CMD ["python3", "/app/server.py"]'],
});
const haproxy = new kiln.docker.Image("haproxy", {
  image: base,
  provisioners: [kiln.shell({ inline: ["apt-get update", "apt-get install -y --no-install-recommends haproxy"] })],
});
const web = new DockerBlueGreen("web", {
  image: app.imageId,
  port: 8080,
  ...args,
  proxy: { image: haproxy.imageId, listen, ...args.proxy },
});
exports.address = web.address;
exports.active = web.active;
exports.proxy = web.proxy.name;
exports.containers = web.containers.map((container) => container.name);
`;

/** What the program declares: arguments of the component. */
export interface BlueGreenProgram {
  version: number;
  replicas?: number;
  health?: Record<string, unknown>;
  drain?: Record<string, unknown>;
  proxy?: Record<string, unknown>;
  /** More of the application's environment. */
  environment?: string[];
}

export interface BlueGreenStack {
  stack: Stack;
  url: string;
  declare(program: BlueGreenProgram): void;
}

/** Not yet up. */
export async function createBlueGreen(test: TestContext, project: string): Promise<BlueGreenStack> {
  const base = process.env["KILN_BASE_IMAGE"];
  if (!base)
    throw new Error("KILN_BASE_IMAGE is not set: run the tests by `npm test`, which sets up what they need");
  const stack = await createStack(test, project, { images: {} });
  const listen = `127.0.0.1:${await findFreePort()}`;
  stack.write("index.js", SOURCE);
  stack.write("app/server.py", fs.readFileSync(path.join(REPOSITORY, "bench/load-server.py")));
  return {
    stack,
    url: `http://${listen}`,
    declare({ version, environment = [], ...args }) {
      const container = { envs: [`VERSION=${version}`, ...environment] };
      const health = { path: "/healthz", ...args.health };
      stack.write("program.json", JSON.stringify({ image: base, listen, container, ...args, health }));
    },
  };
}

/** Of the resource that moves the traffic. */
export function switchUrn(project: string): string {
  return `urn:pulumi:test::${project}::kiln:rollout:DockerBlueGreen$pulumi-nodejs:dynamic/kiln/rollout:HaproxySwitch::web`;
}
