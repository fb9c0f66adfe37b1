/** What kiln adds to a preview in which nothing changes: 20 images beside 20 dynamic resources that do nothing. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { interleave, type BenchRow } from "./measure";
import { makeStack } from "./stack";

const COUNT = 20;
const ALLOWED_MS = 300;

const images = `
const kiln = require("pulumi-kiln");
for (let i = 0; i < ${COUNT}; i++) {
  new kiln.docker.Image("image-" + i, {
    image: process.env.KILN_TINY_IMAGE,
    provisioners: [kiln.file({ source: "app/", destination: "/app" }), kiln.shell({ inline: ["echo " + i + " > /number"] })],
    postProcessors: [kiln.docker.tag({ repository: "bench-preview-" + i })],
  });
}
`;

const empties = `
const pulumi = require("@pulumi/pulumi");
const provider = {
  check: async (olds, news) => ({ inputs: news }),
  diff: async () => ({ changes: false }),
  create: async (inputs) => ({ id: "1", outs: inputs }),
};
class Empty extends pulumi.dynamic.Resource {
  constructor(name) {
    super(provider, name, { number: name });
  }
}
for (let i = 0; i < ${COUNT}; i++) new Empty("empty-" + i);
`;

export async function measurePreview(): Promise<BenchRow[]> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-bench-preview-"));
  try {
    const ours = await prepare(folder, "images", images);
    const beside = await prepare(folder, "empties", empties);
    try {
      const times = await interleave({ ours: ours.preview, beside: beside.preview }, 9);
      const more = times.ours - times.beside;
      return [
        {
          what: `no-op preview with ${COUNT} images beside ${COUNT} empty resources; figure: ms more`,
          ours: times.ours,
          beside: times.beside,
          figure: more,
          goal: ALLOWED_MS,
        },
      ];
    } finally {
      await ours.destroy();
      await beside.destroy();
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function prepare(
  folder: string,
  name: string,
  program: string,
): Promise<{ preview(): Promise<number>; destroy(): Promise<unknown> }> {
  const { folder: stack, pulumi } = await makeStack(folder, name, program);
  fs.mkdirSync(path.join(stack, "app"));
  for (let index = 0; index < 20; index++)
    fs.writeFileSync(path.join(stack, "app", `${index}.txt`), String(index));
  await pulumi("up", "--yes", "--skip-preview");
  return {
    preview: () => pulumi("preview", "--expect-no-changes").then((run) => run.milliseconds),
    destroy: () => pulumi("destroy", "--yes", "--skip-preview"),
  };
}
