import assert from "node:assert/strict";
import { test } from "node:test";
import { collectDrafts, draftRepository, dropDrafts } from "../../../src/platforms/docker/drafts";
import { FakeDockerDriver } from "./fake-driver";

const never = new AbortController().signal;
const MINUTE_MS = 60_000;

function makeDrafts(...machines: string[]): FakeDockerDriver {
  const driver = new FakeDockerDriver();
  for (const machine of machines) driver.world.addImage(`${draftRepository(machine)}:1`);
  return driver;
}

function listNames({ world }: FakeDockerDriver): string[] {
  return [...world.images.values()].flatMap(({ names }) => [...names]).sort();
}

test("a build takes its own drafts back, and no others", async () => {
  const driver = makeDrafts("kiln-a", "kiln-ab");
  await dropDrafts(driver, "kiln-a", never);
  assert.deepEqual(listNames(driver), ["kiln.local/draft/kiln-ab:1"]);
});

test("any later build takes what nobody made a container of in minutes", async () => {
  const driver = makeDrafts("kiln-a", "kiln-b");
  driver.world.addImage("kiln.local/stage/0123:4567");
  const options = { name: "kiln-b", image: "kiln.local/draft/kiln-b:1", entrypoint: ["sh"], command: [] };
  await driver.createContainer({ ...options, hostConfig: {} }, never);
  await collectDrafts(driver, never, Date.now() + 4 * MINUTE_MS);
  assert.equal(listNames(driver).length, 3);
  await collectDrafts(driver, never, Date.now() + 6 * MINUTE_MS);
  assert.deepEqual(listNames(driver), ["kiln.local/draft/kiln-b:1", "kiln.local/stage/0123:4567"]);
});
