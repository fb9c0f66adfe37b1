/** What a resumed build makes equals what a cold one makes, over random chains of steps and edits on the real engine. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { runBuild } from "../../src/core/build";
import { StageMemory } from "../../src/core/stage-memory";
import { DockerBuilder } from "../../src/platforms/docker/builder";
import type { DockerDriver } from "../../src/platforms/docker/driver";
import { nameContainer } from "../../src/platforms/docker/container-name";
import type { UnitOptions } from "../../src/core/model";
import { readUnits, toProvisionerStep, toStagedStep } from "../../src/provider/units";
import { requirePlatform } from "../../src/provider/platforms";
import { DockerSite } from "../../src/platforms/docker/site";
import { inContext, makeFolder } from "../support/context";
import { never, openDriver, tinyImage } from "../support/docker";
import { describeImage } from "../support/image-files";

const CHAINS = 8;
const OWNER = "ffffffffffffffff";

/** Makes, changes, moves, removes and links; what one step makes another may take away. */
const line = fc.oneof(
  fc.tuple(fc.nat(3), fc.nat(9)).map(([file, text]) => `echo ${text} >> /f${file}`),
  fc.tuple(fc.nat(3), fc.constantFrom("600", "755", "4711")).map(([file, mode]) => `chmod ${mode} /f${file}`),
  fc.tuple(fc.nat(3), fc.nat(9)).map(([file, owner]) => `chown ${owner}:${owner + 1} /f${file}`),
  fc.nat(3).map((file) => `rm -rf /f${file} /d${file}`),
  fc
    .tuple(fc.nat(3), fc.nat(3))
    .map(([folder, file]) => `mkdir -p /d${folder}/sub && cp /f${file} /d${folder}/sub/`),
  fc.tuple(fc.nat(3), fc.nat(3)).map(([one, other]) => `mv /d${one} /d${other}/moved`),
  fc.tuple(fc.nat(3), fc.nat(3)).map(([file, target]) => `ln -sf /f${target} /l${file}`),
  fc.nat(3).map((file) => `rm -rf /d${file} && mkdir /d${file} && echo new > /d${file}/new`),
  // More than is repeated in a second stage: the build goes on in another container.
  fc.nat(3).map((file) => `dd if=/dev/zero of=/f${file} bs=1024 count=40 2>/dev/null`),
);

const unit: fc.Arbitrary<UnitOptions> = fc.oneof(
  // A line that finds nothing to work on is no failure.
  fc.array(line, { minLength: 1, maxLength: 3 }).map((lines) => ({
    type: "shell",
    inline: lines.map((text) => `(${text}) 2>/dev/null || true`),
  })),
  fc
    .tuple(fc.nat(3), fc.string({ maxLength: 8 }))
    .map(([file, content]) => ({ type: "file", content, destination: `/d${file}/sent` })),
);

/** Enough files for a layer; the folder is put in place of the name below. */
const many: fc.Arbitrary<UnitOptions> = fc
  .tuple(
    fc.constantFrom(["MANY"], ["MANY/"], ["MANY", "MANY/s1/"]),
    fc.constantFrom("/n0", "/n0/n1/", "/n1/", "/d0/n/", "/tmp/"),
  )
  .map(([sources, destination]) => ({ type: "file", sources, destination }));
const first: fc.Arbitrary<UnitOptions[]> = fc.array(many, { maxLength: 2 });

const chain = fc.record({
  units: fc
    .tuple(first, fc.array(unit, { minLength: 2, maxLength: 5 }), fc.array(many, { maxLength: 1 }))
    .map((lists) => lists.flat()),
  /** Which step another takes the place of, in turn. */
  edits: fc.array(fc.tuple(fc.nat(5), fc.oneof({ weight: 4, arbitrary: unit }, many)), {
    minLength: 1,
    maxLength: 2,
  }),
  changes: fc.constantFrom<string[]>([], ['CMD ["sh"]'], ["ENV A=1", "USER 5"]),
  user: fc.constantFrom(undefined, "0:7"),
});

test("an image from a resumed build equals the one from a cold build", async (t) => {
  process.env["PULUMI_KILN_HOME"] = makeFolder(t);
  const driver = await openDriver();
  const site = new DockerSite(driver, []);
  const folder = makeManyFiles(makeFolder(t));
  let builds = 0;
  let layers = 0;
  let reused = 0;

  async function buildImage(
    units: UnitOptions[],
    more: { changes: string[]; user?: string; cache: boolean },
  ): Promise<unknown> {
    const { cache, ...options } = more;
    const id = `${1_000_000 + builds++}-0000`;
    const buildId = `exact${process.pid}x${builds}`;
    let described: unknown;
    const { told } = await inContext(
      t,
      async (context) => {
        const read = readUnits(
          requirePlatform("docker:Image"),
          {
            provisioners: units.map((each) => ({
              ...each,
              ...(each["sources"]
                ? { sources: (each["sources"] as string[]).map((source) => source.replace("MANY", folder)) }
                : {}),
              cache: true,
            })),
          },
          [],
        );
        assert.deepEqual(read.problems, []);
        const steps = read.provisioners.map((each) => toProvisionerStep(each, site, false));
        const staged = read.provisioners.map((each) =>
          toStagedStep(each, context, { text: false, isSecret: false }),
        );
        const repository = `kiln.local/p/exact-${process.pid}/${OWNER}`;
        const counting = interceptAddLayer(driver, (id) => (id === undefined ? undefined : layers++));
        const builder = new DockerBuilder({
          driver: counting,
          options: { image: tinyImage(), ...options },
          repository,
          tag: id,
          owner: `p/s/${OWNER}`,
          id,
        });
        const memory = new StageMemory("exact");
        const settings = { memory, owner: OWNER, isRebuild: false, steps: await Promise.all(staged) };
        const { id: image } = await runBuild(context, builder, steps, cache ? { stages: settings } : {});
        described = await describeImage(image);
        await driver.untagImage(`${repository}:${id}`, never);
      },
      { buildId },
    );
    await site.removeMachine(nameContainer(buildId), never);
    if (told.some((text) => text.includes("reused;") || text.startsWith("all"))) reused++;
    return described;
  }

  t.after(async () => {
    for (const mark of (await site.listStages(never)).filter(({ owner }) => owner === OWNER))
      await site.dropStage(mark, never);
  });

  await fc.assert(
    fc.asyncProperty(chain, async ({ units, edits, changes, user }) => {
      const more = { changes, user };
      const edited = [...units];
      await buildImage(edited, { ...more, cache: true });
      for (const [at, other] of edits) {
        edited[at % edited.length] = other;
        const resumed = await buildImage(edited, { ...more, cache: true });
        assert.deepEqual(resumed, await buildImage(edited, { ...more, cache: false }));
      }
    }),
    { numRuns: CHAINS },
  );
  t.diagnostic(`${builds} builds, ${reused} of them resumed, ${layers} uploads as layers`);
  assert.ok(reused > CHAINS / 2, String(reused));
  assert.ok(layers > CHAINS / 2, String(layers));
  assert.deepEqual(await driver.listTags(`kiln.local/draft/kiln-exact${process.pid}*`, never), []);
});

function makeManyFiles(parent: string): string {
  const folder = path.join(parent, "many");
  for (let index = 0; index < 120; index++) {
    const sub = path.join(folder, `s${index % 7}`);
    fs.mkdirSync(sub, { recursive: true, mode: index % 7 === 3 ? 0o700 : 0o755 });
    fs.writeFileSync(path.join(sub, `f ${index} ü`), `${index}\n`.repeat(index), {
      mode: index % 5 === 0 ? 0o755 : 0o640,
    });
  }
  fs.symlinkSync("../s0", path.join(folder, "s1/link"));
  fs.mkdirSync(path.join(folder, "empty"));
  fs.writeFileSync(path.join(folder, "n".repeat(130)), "long");
  fs.chmodSync(path.join(folder, "s0/f 0 ü"), 0o4755);
  return folder;
}

function interceptAddLayer(driver: DockerDriver, onLayer: (id: string | undefined) => void): DockerDriver {
  return new Proxy(driver, {
    get(target, name) {
      const member = Reflect.get(target, name) as unknown;
      if (typeof member !== "function") return member;
      if (name !== "addLayer") return member.bind(target) as unknown;
      return async (...args: Parameters<DockerDriver["addLayer"]>) => {
        const id = await target.addLayer(...args);
        onLayer(id);
        return id;
      };
    },
  });
}
