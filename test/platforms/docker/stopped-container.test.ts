import assert from "node:assert/strict";
import { test } from "node:test";
import type { BuildMachine } from "../../../src/platforms/docker/machine";
import { EngineError } from "../../../src/platforms/docker/engine-error";
import { DockerStages } from "../../../src/platforms/docker/stages";
import { definition } from "../../../src/provisioners/shell";
import { inContext } from "../../support/context";
import { never } from "../../support/docker";
import { FakeDockerDriver } from "./fake-driver";

for (const skipClean of [false, true])
  test(`what a step that stops its container left in a volume keeps a stage from being saved, ${skipClean ? "without" : "with"} cleaning`, async (t) => {
    const driver = new FakeDockerDriver();
    driver.world.moveName(driver.world.makeImage("", {}, new Map(), ""), "base:1");
    const source = await driver.findImage("base:1", never);
    assert.ok(source);
    let volume = "";
    driver.program = (container, { argv, onOutput }) => {
      const command = argv[2] ?? "";
      if (command.includes("command -v ls"))
        onOutput?.(Buffer.from(`process 1 (sh) S 0\nmount /data\n${volume}`));
      if (!command.includes("cat >")) return 0;
      volume = "-rw 1 f\n";
      container.running = false;
      throw new EngineError("Running a command", "the container is not running", 409);
    };
    await inContext(t, async (context) => {
      const setup = {
        driver,
        options: { image: "base:1", volumes: ["/host:/data"] },
        owner: "a/b/c",
        id: "1-abcd",
      };
      const stages = new DockerStages(context, setup, source);
      await stages.openMachine(undefined, { isSaved: true });
      const { communicator } = (stages as unknown as { build: BuildMachine }).build;
      const step = { inline: ["echo x >/data/f", "kill 1"], expectDisconnect: true, skipClean };
      await definition.create(step, undefined).provision(context, communicator);
      assert.equal(await stages.findObstacle(), "/data has content that is not saved with the machine");
    });
  });
