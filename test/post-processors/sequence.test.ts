import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import type { BuildContext } from "../../src/core/context";
import type { Artifact, PostProcessor } from "../../src/core/model";
import { takeLock } from "../../src/core/lock";
import {
  listStale,
  runPostProcessors,
  type PostProcessorStep,
  type PostProcessRecord,
} from "../../src/core/post-process";
import { definition as checksum } from "../../src/post-processors/checksum";
import { definition as compress } from "../../src/post-processors/compress";
import { definition as manifest } from "../../src/post-processors/manifest";
import { removeMade, type RemovalOptions } from "../../src/provider/made";
import { toPostProcessorStep } from "../../src/provider/units";
import { definition as shellLocal } from "../../src/provisioners/shell-local";
import { inContext } from "../support/context";

const image: Artifact = { kind: "docker-image", id: "sha256:1", data: {} };

/** Stands for `docker.save`: writes a file. */
function save(file: string): PostProcessor {
  return {
    process(context, input) {
      fs.writeFileSync(path.join(context.cwd, file), "saved");
      return Promise.resolve({ artifact: { ...input, files: [file] }, made: [`file:${file}`] });
    },
  };
}

/** Stands for `docker.tag`. */
const tag: PostProcessor = {
  process: (_context, input) => Promise.resolve({ artifact: input, made: ["docker-tag:app:1"] }),
};

function step(type: string, postProcessor: PostProcessor, identity = ""): PostProcessorStep {
  return { type, title: type, identity, postProcessor, planned: [] };
}

/** `kiln.shellLocal`, as the provider makes a step of it. */
function local(context: BuildContext, options: Record<string, unknown>): PostProcessorStep {
  const unit = { at: [], definition: shellLocal as never, options, valid: true };
  return toPostProcessorStep(unit, "", { undo: () => Promise.resolve() } as never, context);
}

function removal({ cwd, signal }: BuildContext): RemovalOptions {
  return { site: undefined, artifact: image, cwd, deleteRemote: false, signal };
}

function readManifest(
  { cwd }: BuildContext,
  name = "packer-manifest.json",
): { builds: Record<string, unknown>[] } {
  return JSON.parse(fs.readFileSync(path.join(cwd, name), "utf8")) as {
    builds: Record<string, unknown>[];
  };
}

async function run(
  context: BuildContext,
  sequence: PostProcessorStep[],
  previous: PostProcessRecord[] = [],
): Promise<{ records: PostProcessRecord[]; ran: string[] }> {
  const ran: string[] = [];
  const watched = sequence.map((one) => ({
    ...one,
    postProcessor: {
      process: (inner: BuildContext, input: Artifact) => {
        ran.push(one.type);
        return one.postProcessor.process(inner, input);
      },
    },
  }));
  const remove = (made: readonly string[]): Promise<void> => removeMade(made, removal(context));
  const { records, failures } = await runPostProcessors(context, image, [watched], previous, remove);
  assert.deepEqual(failures, []);
  return { records, ran };
}

test("compress gives up the file that went in, whoever made it, and nothing else", async (t) => {
  await inContext(t, async (context) => {
    const sequence = [
      step("save", save("app.tar")),
      step("tag", tag),
      step("compress", compress.create({ output: "app.tar.gz" }, undefined)),
    ];
    const { records } = await run(context, sequence);
    assert.ok(!fs.existsSync(path.join(context.cwd, "app.tar")));
    assert.deepEqual(
      records.map((record) => record.made),
      [[], ["docker-tag:app:1"], ["file:app.tar.gz"]],
    );
    assert.match(
      gunzipSync(fs.readFileSync(path.join(context.cwd, "app.tar.gz"))).toString("latin1"),
      /app\.tar.*saved/s,
    );

    // Nothing changed: nothing runs. Another level of compression needs the file again.
    assert.deepEqual((await run(context, sequence, records)).ran, []);
    const other = [
      ...sequence.slice(0, 2),
      step("compress", compress.create({ output: "b.tar.gz" }, undefined), "b"),
    ];
    const again = await run(context, other, records);
    assert.deepEqual(again.ran, ["save", "tag", "compress"]);
    assert.deepEqual(listStale(records, again.records), ["file:app.tar.gz"]);
  });
});

test("keepInput keeps it, and a checksum is of the file", async (t) => {
  await inContext(t, async (context) => {
    const { records } = await run(context, [
      step("save", save("app.tar")),
      step("checksum", checksum.create({ output: "{{.ChecksumType}}.txt" }, undefined)),
      step("compress", compress.create({ output: "app.tar.gz", keepInput: true }, undefined)),
    ]);
    assert.ok(fs.existsSync(path.join(context.cwd, "app.tar")));
    const hash = createHash("sha256").update("saved").digest("hex");
    assert.equal(fs.readFileSync(path.join(context.cwd, "sha256.txt"), "utf8"), `${hash}\tapp.tar\n`);
    assert.deepEqual(records[1]?.made, ["file:sha256.txt"]);
  });
});

test("a manifest collects builds, loses the entry that is undone, and goes with its last", async (t) => {
  await inContext(t, async (context) => {
    const file = path.join(context.cwd, "packer-manifest.json");
    const unit = manifest.create({ stripTime: true, customData: { team: "web" } }, undefined);
    fs.writeFileSync(`${file}.lock`, "999999999"); // of a process that is no more
    const first = await unit.process(context, image);
    const second = await unit.process({ ...context, buildId: "other" }, image);
    const content = readManifest(context);
    assert.equal(content.builds.length, 2);
    assert.deepEqual(content.builds[0], {
      name: "app",
      builder_type: "docker",
      files: null,
      artifact_id: "sha256:1",
      packer_run_uuid: context.buildId,
      custom_data: { team: "web" },
    });
    await removeMade(first.made, removal(context));
    assert.equal(readManifest(context).builds.length, 1);
    await removeMade(second.made, removal(context));
    assert.ok(!fs.existsSync(file));
  });
});

test("a lock that was left empty is passed over; of one that is held it is said what to do", async (t) => {
  await inContext(t, async (context) => {
    const lock = path.join(context.cwd, "packer-manifest.json.lock");
    const unit = manifest.create({}, undefined);
    fs.writeFileSync(lock, "");
    fs.utimesSync(lock, 0, 0);
    await unit.process(context, image);
    assert.ok(!fs.existsSync(lock));

    const held = await takeLock(lock, context.signal);
    t.mock.timers.enable({ apis: ["setTimeout"] });
    let waits = true;
    const refused = unit.process(context, image).finally(() => (waits = false));
    refused.catch(() => undefined);
    while (waits) {
      t.mock.timers.tick(10_000);
      await new Promise(setImmediate);
    }
    await assert.rejects(
      refused,
      /Locking the manifest .*packer-manifest\.json: another process has held .*\.lock for 10 s\. If no build is running, remove that file/,
    );
    held.release();
  });
});

test("of two manifests of one build the entry goes that changed, and the other one stays", async (t) => {
  await inContext(t, async (context) => {
    const note = (team: string): PostProcessorStep =>
      step("manifest", manifest.create({ customData: { team } }, undefined), team);
    const build = async (
      buildId: string,
      teams: string[],
      previous: PostProcessRecord[],
    ): Promise<PostProcessRecord[]> => {
      const sequences = teams.map((team) => [note(team)]);
      const inner = { ...context, buildId };
      const { records } = await runPostProcessors(inner, image, sequences, previous, () => Promise.resolve());
      await removeMade(listStale(previous, records), removal(context));
      return records;
    };
    const listTeams = (): unknown[] =>
      readManifest(context).builds.map(({ custom_data }) => (custom_data as { team: string }).team);

    const first = await build("b1", ["web", "data"], []);
    const second = await build("b2", ["web", "ops"], first);
    assert.deepEqual(listTeams(), ["web", "ops"]);
    await build("b3", ["ops"], second);
    assert.deepEqual(listTeams(), ["ops"]);
  });
});

test("what older states say of a manifest is all that its build wrote", async (t) => {
  await inContext(t, async (context) => {
    const unit = manifest.create({ output: "a:b.json" }, undefined);
    await unit.process(context, image);
    await unit.process({ ...context, buildId: "other" }, image);
    await removeMade([`manifest:${context.buildId}:a:b.json`], removal(context));
    assert.deepEqual(
      readManifest(context, "a:b.json").builds.map((build) => build["packer_run_uuid"]),
      ["other"],
    );
  });
});

test("what works on files says what to put before it", async (t) => {
  await assert.rejects(
    inContext(t, async (context) => void (await compress.create({}, undefined).process(context, image))),
    /compress: its input \(docker-image\) has no files. Put it after one that writes a file/,
  );
});

test("a post-processor that may be tried again is, each time for as long as it may take", async (t) => {
  await inContext(t, async (context) => {
    const count = 'echo "$KILN_ARTIFACT_ID" >> tries; test "$(wc -l < tries)" -eq 3';
    const { records } = await run(context, [
      local(context, { command: count, maxRetries: 2, pauseBefore: "1ms" }),
    ]);
    assert.equal(records.length, 1);
    assert.equal(fs.readFileSync(path.join(context.cwd, "tries"), "utf8"), "sha256:1\n".repeat(3));

    const slow = local(context, { command: "sleep 600", maxRetries: 1, timeout: "50ms" });
    const { failures } = await runPostProcessors(context, image, [[slow]], [], () => Promise.resolve());
    assert.match(String(failures[0]), /shell-local: sleep 600 \(timeout 50ms\): not finished in time/);
  });
});
