import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { packContent, packEntries } from "../../../src/communicators/archive";
import type { ImageDetails } from "../../../src/platforms/docker/driver";
import { fitsLayer } from "../../../src/platforms/docker/layer-choice";
import { LayerImage, readHistory, type HistoryAnswer } from "../../../src/platforms/docker/layer-image";
import { unpackFiles } from "./fake-files";

const root = { uid: 0, gid: 0 };

function makeBase(layers: number, config: ImageDetails["config"] = {}): ImageDetails {
  return {
    id: "sha256:base",
    os: "linux",
    architecture: "arm64",
    variant: "v8",
    parent: "",
    comment: "",
    layers: Array.from({ length: layers }, (_, index) => `sha256:layer${index}`),
    sizeBytes: 100,
    tags: [],
    digests: [],
    config,
  };
}

/** As the engine tells it: the newest first. */
function makeHistory(...entries: [createdBy: string, size: number][]): HistoryAnswer[] {
  return entries
    .map(([CreatedBy, Size], index) => ({ Created: 1_700_000_000 + index, CreatedBy, Comment: "", Size }))
    .reverse();
}

function listHollow(answers: HistoryAnswer[], layers: number): string[] | undefined {
  const history = readHistory(answers, makeBase(layers));
  if (!history) return undefined;
  assert.equal(history.length, answers.length);
  assert.equal(history.filter((entry) => !entry.empty_layer).length, layers);
  return history.filter((entry) => entry.empty_layer).map((entry) => entry.created_by);
}

test("a history keeps its order, and tells which entries made no layer, where the engine tells only sizes", () => {
  const answers = makeHistory(
    ["ADD file:1 in /", 5_000_000],
    ['CMD ["sh"]', 0],
    ["RUN true", 0],
    ["/bin/sh -c #(nop)  ENV A=1", 0],
    ["WORKDIR /app", 0],
    ["COPY . .", 12],
  );
  assert.deepEqual(listHollow(answers, 4), ['CMD ["sh"]', "/bin/sh -c #(nop)  ENV A=1"]);
  assert.equal(listHollow(answers, 2)?.length, 4);
  // One of two that could have made a layer did.
  assert.equal(listHollow(answers, 3), undefined);
  assert.equal(listHollow(answers, 5), undefined);
  assert.equal(listHollow(answers, 1), undefined);
  const [first] = readHistory(answers, makeBase(4)) ?? [];
  assert.deepEqual(first, { created: "2023-11-14T22:13:20.000Z", created_by: "ADD file:1 in /" });
});

test("what is loaded names the layers below without holding them; its id is the configuration's digest", async () => {
  const archive = packContent(Buffer.from("hi"), 0o600, { newFolders: [], path: "greeting", owner: root });
  const base = makeBase(1, { Cmd: ["sh"], Labels: { a: "b" } });
  const image = new LayerImage(
    { base, archive, repository: "kiln.local/draft/x", tag: "1", comment: "mine" },
    readHistory(makeHistory(["ADD", 1]), base) ?? [],
  );
  const files = await unpackFiles(image.stream());
  const read = (name: string): Buffer => files.get(name) as Buffer;
  const [manifest] = JSON.parse(read("manifest.json").toString()) as Record<string, unknown>[];
  assert.deepEqual(manifest, {
    Config: "config.json",
    RepoTags: ["kiln.local/draft/x:1"],
    Layers: ["present/0", "layer.tar"],
  });
  assert.ok(!files.has("present/0"));
  const digest = (bytes: Buffer): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  assert.equal(image.id, digest(read("config.json")));
  const config = JSON.parse(read("config.json").toString()) as Record<string, unknown>;
  assert.deepEqual(config["config"], base.config);
  assert.deepEqual(config["rootfs"], {
    type: "layers",
    diff_ids: ["sha256:layer0", digest(read("layer.tar"))],
  });
  assert.equal((config["history"] as unknown[]).length, 2);
  assert.deepEqual(
    [config["os"], config["architecture"], config["variant"], config["comment"]],
    ["linux", "arm64", "v8", "mine"],
  );
});

test("only much that goes to a place of its own is a layer", () => {
  const entry = (name: string, sizeBytes = 1) =>
    ({ path: name, kind: "file", executable: false, mode: 0o644, mtimeMs: 0, sizeBytes, hash: "" }) as const;
  const pack = (names: string[], sizeBytes?: number) =>
    packEntries(
      names.map((name) => entry(name, sizeBytes)),
      "/src",
      { newFolders: ["app"], path: "app", owner: root },
    );
  const many = Array.from({ length: 120 }, (_, index) => String(index));
  const options = { image: "tiny" };
  const fits = (archive = pack(many), more: object = {}, config: ImageDetails["config"] = {}, name = "app") =>
    fitsLayer(name, archive, { ...options, ...more }, makeBase(1, config));
  assert.ok(fits());
  assert.ok(fits(pack(["one"], 2_000_000)));
  assert.ok(!fits(pack(["one"])));
  assert.ok(!fits(pack([...many, "sub/.wh.gone"])), "it would remove what is below");
  for (const name of ["./a", "a//b", "a/../b"]) assert.ok(!fits(pack([...many, name])), name);
  assert.ok(fits(pack([...many, "...", ".a", "b..", "..c/d"])));
  assert.ok(!fits(undefined, {}, {}, "proc"));
  assert.ok(!fits(undefined, { tmpfs: ["/app/tmp:size=1m"] }));
  assert.ok(!fits(undefined, { volumes: ["cache:/app"] }));
  assert.ok(fits(undefined, { volumes: ["cache:/var/cache"] }));
  assert.ok(!fits(undefined, {}, { Volumes: { "/app/data": {} } }));
});
