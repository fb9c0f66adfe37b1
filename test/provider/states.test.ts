import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { platform } from "../../src/platforms/docker/platform";
import { deleteImage } from "../../src/provider/delete";
import { readImage } from "../../src/provider/read";
import type { State } from "../../src/provider/state";
import { FakeDockerDriver } from "../platforms/docker/fake-driver";
import { makeWorld, startRun } from "../platforms/docker/provider-run";

const FOLDER = path.resolve(__dirname, "..", "..", "..", "test", "fixtures", "states");

interface Kept {
  id: string;
  outs: State;
  /** What the image was called on the engine. */
  names: string[];
}

for (const file of fs.readdirSync(FOLDER)) {
  test(`the state of ${file} can be read and deleted by every version`, async () => {
    const { id, outs, names } = JSON.parse(fs.readFileSync(path.join(FOLDER, file), "utf8")) as Kept;
    assert.equal(platform.type, outs.__kiln.type);
    const world = makeWorld();
    const image = world.addImage(names[0] ?? "");
    for (const name of names) image.names.add(name);
    // The state names the image by the id that it had then.
    world.images.delete(image.id);
    const kept = Object.assign(image, { id: outs.artifactId });
    world.images.set(kept.id, kept);

    startRun(new FakeDockerDriver(world), { stack: "dev", name: "app", lineage: "" });
    assert.equal((await readImage(id, outs)).id, id);
    await deleteImage(id, outs);
    assert.equal(world.images.size, 1, "only the source is left");
    assert.equal((await readImage(id, outs)).id, undefined);
    await deleteImage(id, outs); // already gone is success
  });
}
