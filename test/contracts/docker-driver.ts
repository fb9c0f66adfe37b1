/** What everybody who drives a Docker engine may rely on: run on the fake and on the real one, so that the fake tells no tales. */
import assert from "node:assert/strict";
import { text } from "node:stream/consumers";
import { after, describe, test } from "node:test";
import { packContent } from "../../src/communicators/archive";
import type { DockerDriver } from "../../src/platforms/docker/driver";
import { unpackFiles } from "../platforms/docker/fake-files";

const never = new AbortController().signal;
const SLEEPER = ["/bin/sh", "-c", "sleep 600"];

/** An engine to run the suite on, with an image that has a shell. */
export interface DriverUnderTest {
  driver: DockerDriver;
  source: string;
}

/** Registers the suite; `open` is called once, in its first test. */
export function testDockerDriver(name: string, open: () => Promise<DriverUnderTest>): void {
  describe(`the Docker driver's contract, ${name}`, () => {
    const prefix = `kiln-contract-${process.pid}`;
    let opened: Promise<DriverUnderTest> | undefined;
    const containers: string[] = [];
    const tags = new Set<string>();

    async function makeContainer(
      image?: string,
    ): Promise<{ driver: DockerDriver; id: string; name: string }> {
      const { driver, source } = await (opened ??= open());
      const containerName = `${prefix}-${containers.length}`;
      containers.push(containerName);
      const options = { name: containerName, image: image ?? source, entrypoint: SLEEPER, command: [] };
      const id = await driver.createContainer({ ...options, hostConfig: {} }, never);
      return { driver, id, name: containerName };
    }

    /** An image of its own for one test; its name is taken back at the end, if the test has not done so. */
    async function makeImage(title: string, changes: string[] = [], base?: string): Promise<string> {
      const { driver, id } = await makeContainer(base);
      const config = base === undefined ? {} : ((await driver.findImage(base, never))?.config ?? {});
      const repository = `kiln.local/${prefix}/suite/${title}`;
      tags.add(`${repository}:one`);
      const image = { container: id, repository, tag: "one", config, changes };
      const imageId = await driver.commitContainer(image, never);
      await driver.removeContainer(id, never);
      return imageId;
    }

    after(async () => {
      const { driver } = await (opened ??= open());
      for (const container of containers) await driver.removeContainer(container, never);
      for (const tag of tags) await driver.untagImage(tag, never);
    });

    test("a container is found by name and id, starts, and is removed; removing it again is success", async () => {
      const { driver, id, name: containerName } = await makeContainer();
      const found = await driver.findContainer(containerName, never);
      assert.deepEqual(found, { id, name: containerName, running: false, exitCode: 0 });
      await driver.startContainer(id, never);
      await driver.startContainer(id, never);
      assert.equal((await driver.findContainer(id, never))?.running, true);
      await driver.removeContainer(id, never);
      await driver.removeContainer(id, never);
      assert.equal(await driver.findContainer(id, never), undefined);
    });

    test("a command gives its output and its exit code, whatever that is", async () => {
      const { driver, id } = await makeContainer();
      await assert.rejects(driver.runCommand(id, { argv: ["cat", "/x"], environment: [], signal: never }));
      await driver.startContainer(id, never);
      const archive = packContent(Buffer.from("hello"), 0o644, target("greeting"));
      await driver.putArchive(id, "/tmp", archive.stream(), never);
      const output: Buffer[] = [];
      const run = (argv: string[]): Promise<number> =>
        driver.runCommand(id, {
          argv,
          environment: [],
          signal: never,
          onOutput: (chunk) => output.push(chunk),
        });
      assert.equal(await run(["cat", "/tmp/greeting"]), 0);
      assert.equal(Buffer.concat(output).toString(), "hello");
      assert.equal(await run(["/bin/sh", "-c", "exit 3"]), 3);
      await driver.removeContainer(id, never);
    });

    test("files go in and come out, before the container has started too", async () => {
      const { driver, id } = await makeContainer();
      const archive = packContent(Buffer.from("inside"), 0o644, {
        ...target("new/file"),
        newFolders: ["new"],
      });
      await driver.putArchive(id, "/tmp", archive.stream(), never);
      assert.equal((await driver.findPath(id, "/tmp/new", never))?.isFolder, true);
      assert.equal((await driver.findPath(id, "/tmp/new/file", never))?.isFolder, false);
      assert.equal(await driver.findPath(id, "/tmp/none", never), undefined);
      const files = await unpackFiles(await driver.getArchive(id, "/tmp/new", never));
      assert.equal(files.get("new/file")?.toString(), "inside");
      await assert.rejects(driver.getArchive(id, "/tmp/none", never), /Fetching \/tmp\/none/);
      const late = packContent(Buffer.from(""), 0o644, target("x"));
      await assert.rejects(
        driver.putArchive(id, "/no/such", late.stream(), never),
        /Sending files to \/no\/such/,
      );
      const exported = await unpackFiles(await driver.exportContainer(id, never));
      assert.equal(exported.get("tmp/new/file")?.toString(), "inside");
      await driver.removeContainer(id, never);
    });

    test("a commit gives the configuration it was told, and fills what is empty from the container's", async () => {
      const id = await makeImage("commit", ['CMD ["a"]', "LABEL made=here", "ENV A=1"]);
      const { driver } = await (opened ??= open());
      const image = await driver.findImage(id, never);
      assert.deepEqual(image?.config["Cmd"], ["a"]);
      assert.deepEqual(image.config["Entrypoint"], SLEEPER);
      assert.equal((image.config["Labels"] as Record<string, string>)["made"], "here");
      assert.ok(image.config.Env?.includes("A=1"));
      const child = await driver.findImage(await makeImage("child", [], id), never);
      assert.equal(child?.parent, id);
      assert.equal(
        (child.config["Labels"] as Record<string, string>)["made"],
        "here",
        "labels are inherited",
      );
      for (const title of ["child", "commit"])
        await driver.untagImage(`kiln.local/${prefix}/suite/${title}:one`, never);
    });

    test("tags are listed by a pattern of fixed depth, and a tag that moves leaves the image it was on", async () => {
      const first = await makeImage("list");
      const { driver } = await (opened ??= open());
      const list = async (): Promise<unknown> => driver.listTags(`kiln.local/${prefix}/*/*`, never);
      const repository = `kiln.local/${prefix}/suite/list`;
      assert.deepEqual(await list(), [{ imageId: first, tag: `${repository}:one` }]);
      assert.deepEqual(await driver.listTags(`kiln.local/${prefix}/*`, never), []);
      await driver.tagImage(first, repository, "two", never);
      const second = await makeImage("list");
      assert.equal((await driver.findImage(`${repository}:one`, never))?.id, second);
      assert.equal((await driver.findImage(`${repository}:two`, never))?.id, first);
      for (const tag of ["one", "two"])
        assert.equal(await driver.untagImage(`${repository}:${tag}`, never), "untagged");
      assert.deepEqual(await list(), []);
      assert.equal(await driver.untagImage(`${repository}:one`, never), "missing");
    });

    test("an image tells what it stands on; what changed nothing adds no layer, and a comment is not inherited", async () => {
      const { driver, source } = await (opened ??= open());
      const below = await makeImage("below");
      const { id } = await makeContainer(below);
      assert.ok((await driver.measureContainer(id, never)) < 1000);
      const config = (await driver.findImage(below, never))?.config ?? {};
      const repository = `kiln.local/${prefix}/suite/above`;
      tags.add(`${repository}:one`);
      const options = { container: id, repository, tag: "one", config, changes: [], comment: "mine" };
      const above = await driver.commitContainer({ ...options, pause: false }, never);
      const [listed, ...more] = await driver.listImages(repository, never);
      assert.deepEqual(more, []);
      assert.equal(listed?.imageId, above);
      assert.equal(listed.parent, below);
      assert.deepEqual(listed.tags, [`${repository}:one`]);
      const details = await driver.findImage(above, never);
      assert.equal(details?.comment, "mine");
      assert.deepEqual(details.layers, (await driver.findImage(below, never))?.layers);
      const sourceLayers = (await driver.findImage(source, never))?.layers ?? [];
      assert.ok(sourceLayers.length > 0);
      assert.deepEqual(details.layers.slice(0, sourceLayers.length), sourceLayers);
      const child = await driver.findImage(await makeImage("unmarked", [], above), never);
      assert.notEqual(child?.comment, "mine");
      await driver.removeContainer(id, never);
      for (const title of ["unmarked", "above", "below"])
        await driver.untagImage(`kiln.local/${prefix}/suite/${title}:one`, never);
    });

    test("files on top of an image make another of the same configuration, one layer higher, that is whole without a container", async () => {
      const below = await makeImage("ground", ['CMD ["a"]', "LABEL made=here"]);
      const { driver } = await (opened ??= open());
      const base = await driver.findImage(below, never);
      assert.ok(base);
      const place = { repository: `kiln.local/${prefix}/suite/files`, tag: "one" };
      tags.add(`${place.repository}:one`);
      const archive = packContent(Buffer.from("on top"), 0o640, {
        ...target("new/file"),
        newFolders: ["new"],
      });
      const id = await driver.addLayer({ base, archive, ...place, comment: "mine" }, never);
      const found = await driver.findImage(`${place.repository}:one`, never);
      assert.equal(found?.id, id);
      assert.deepEqual(found?.config, base.config);
      assert.deepEqual([found?.comment, found?.parent], ["mine", ""]);
      assert.deepEqual(found?.layers.slice(0, -1), base.layers);
      const made = await makeContainer(id);
      const files = await unpackFiles(await driver.getArchive(made.id, "/new", never));
      assert.equal(files.get("new/file")?.toString(), "on top");
      await driver.removeContainer(made.id, never);
      // Nothing ties the two together: the one below may go.
      await driver.untagImage(`kiln.local/${prefix}/suite/ground:one`, never);
      assert.equal(await driver.findImage(below, never), undefined);
      const again = await makeContainer(id);
      assert.ok(await driver.findPath(again.id, "/new/file", never));
      await driver.removeContainer(again.id, never);
      await driver.untagImage(`${place.repository}:one`, never);
      assert.equal(await driver.findImage(id ?? "", never), undefined);
    });

    test("an image goes with its last name, but not while a container, even one never started, uses it", async () => {
      const image = await makeImage("used");
      const { driver, id, name: user } = await makeContainer(image);
      const reference = `kiln.local/${prefix}/suite/used:one`;
      await driver.tagImage(image, `kiln.local/${prefix}/suite/used`, "two", never);
      assert.equal(await driver.untagImage(reference.replace(":one", ":two"), never), "untagged");
      assert.deepEqual(await driver.untagImage(reference, never), { inUseBy: `container ${user}` });
      assert.ok(await driver.findImage(image, never));
      await driver.removeContainer(id, never);
      assert.equal(await driver.untagImage(reference, never), "untagged");
      assert.equal(await driver.findImage(image, never), undefined);
    });

    test("an image that another was made from stays nameless, and goes with the last of those", async () => {
      const parent = await makeImage("parent");
      const child = await makeImage("heir", [], parent);
      const { driver } = await (opened ??= open());
      assert.equal(await driver.untagImage(`kiln.local/${prefix}/suite/parent:one`, never), "untagged");
      assert.deepEqual((await driver.findImage(parent, never))?.tags, []);
      await driver.untagImage(`kiln.local/${prefix}/suite/heir:one`, never);
      assert.equal(await driver.findImage(child, never), undefined);
      assert.equal(await driver.findImage(parent, never), undefined);
    });

    test("nothing is done for a signal that is aborted already, and its reason is the error", async () => {
      const { driver, id } = await makeContainer();
      const reason = new Error("no more");
      await assert.rejects(driver.removeContainer(id, AbortSignal.abort(reason)));
      assert.ok(await driver.findContainer(id, never));
      await driver.removeContainer(id, never);
    });

    test("what does not exist is missing where one looks, and an error where one needs it", async () => {
      const { driver } = await (opened ??= open());
      assert.equal(await driver.findImage(`${prefix}/none:1`, never), undefined);
      await assert.rejects(driver.tagImage(`${prefix}/none:1`, `${prefix}/none`, "2", never), /Tagging/);
      const options = { name: `${prefix}-none`, image: `${prefix}/none:1`, entrypoint: SLEEPER, command: [] };
      await assert.rejects(
        driver.createContainer({ ...options, hostConfig: {} }, never),
        /Creating a container/,
      );
      const saved = await text(await driver.saveImages([(await (opened ??= open())).source], never));
      assert.notEqual(saved, "");
    });
  });
}

function target(path: string): { newFolders: string[]; path: string; owner: { uid: number; gid: number } } {
  return { newFolders: [], path, owner: { uid: 0, gid: 0 } };
}
