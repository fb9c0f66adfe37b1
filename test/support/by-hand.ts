/** What people do on an engine without Pulumi: remove images, run containers, make images from ours. */
import type { TestContext } from "node:test";
import { openDriver, openEngine, never } from "./docker";

const IDLE = ["/bin/sh", "-c", "sleep 3600"];
let made = 0;

/** Removes an image with all its names, and the containers that use it. */
export async function removeImage(image: string): Promise<void> {
  const engine = await openEngine();
  const { body: users } = await engine.request<{ Id: string }[]>({
    method: "GET",
    path: "/containers/json",
    query: { all: true, filters: { ancestor: [image] } },
  });
  const driver = await openDriver();
  for (const { Id } of users) await driver.removeContainer(Id, never);
  await engine.request({
    method: "DELETE",
    path: `/images/${image}`,
    query: { force: true },
    expect: { 200: "removed", 404: "missing" },
  });
}

/** Starts a container that idles; it is removed when the test ends. */
export async function runContainer(test: TestContext, image: string): Promise<string> {
  const driver = await openDriver();
  const name = `by-hand-${process.pid}-${++made}`;
  test.after(() => driver.removeContainer(name, never));
  const id = await driver.createContainer(
    { name, image, entrypoint: IDLE, command: [], hostConfig: {} },
    never,
  );
  await driver.startContainer(id, never);
  return name;
}

/** Makes an image from another one, as `docker commit` does; its id. */
export async function deriveImage(
  test: TestContext,
  image: string,
  repository: string,
  tag: string,
): Promise<string> {
  const driver = await openDriver();
  const container = await runContainer(test, image);
  const id = await driver.commitContainer({ container, repository, tag, config: {}, changes: [] }, never);
  await driver.removeContainer(container, never);
  test.after(() => removeImage(id));
  return id;
}

/** Whether the container is there and runs. */
export async function isRunning(container: string): Promise<boolean> {
  return (await (await openDriver()).findContainer(container, never))?.running ?? false;
}
