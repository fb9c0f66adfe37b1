/** What a test looks at on the engine, by the same driver that the package uses. */
import type { DockerDriver } from "../../src/platforms/docker/driver";
import { findEndpoint } from "../../src/platforms/docker/endpoint";
import { connectEngine, type Engine } from "../../src/platforms/docker/engine";
import { EngineDriver } from "../../src/platforms/docker/engine-driver";

export const never = new AbortController().signal;

let engine: Promise<Engine> | undefined;

export function openEngine(): Promise<Engine> {
  return (engine ??= connectEngine(findEndpoint({})));
}

export async function openDriver(): Promise<DockerDriver> {
  return new EngineDriver(await openEngine());
}

/** A small image with a shell, that the set-up made. */
export function tinyImage(): string {
  const image = process.env["KILN_TINY_IMAGE"];
  if (!image)
    throw new Error("KILN_TINY_IMAGE is not set: run the tests by `npm test`, which sets up what they need");
  return image;
}

export async function inspectImage(reference: string): Promise<Record<string, unknown>> {
  const { body } = await (
    await openEngine()
  ).request<Record<string, unknown>>({ method: "GET", path: `/images/${reference}/json` });
  return body;
}

export async function imageExists(reference: string): Promise<boolean> {
  return (await (await openDriver()).findImage(reference, never)) !== undefined;
}

/** Claims of all stacks of a project. */
export async function listClaimTags(project: string): Promise<string[]> {
  const tags = await (await openDriver()).listTags(`kiln.local/${project}/*/*`, never);
  return tags.map(({ tag }) => tag);
}

/** Runs a command in a new container of the image, and gives what it printed. */
export async function runInImage(image: string, argv: string[]): Promise<string> {
  const driver = await openDriver();
  const name = `kiln-test-${process.pid}-${Date.now()}`;
  const id = await driver.createContainer(
    { name, image, entrypoint: ["/bin/sh", "-c", "sleep 600"], command: [], hostConfig: {} },
    never,
  );
  try {
    await driver.startContainer(id, never);
    const output: Buffer[] = [];
    await driver.runCommand(id, {
      argv,
      environment: [],
      onOutput: (chunk) => output.push(chunk),
      signal: never,
    });
    return Buffer.concat(output).toString();
  } finally {
    await driver.removeContainer(id, never);
  }
}
