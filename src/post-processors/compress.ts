import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import * as tar from "tar-stream";
import { z } from "zod";
import type { BuildContext } from "../core/context";
import type { Definition, PostProcessor } from "../core/model";
import { optionsSchema, schemaOf } from "../core/schema";
import { renderOutput, requireFiles } from "./files";

/** Options of `kiln.compress`. Same as Packer's `compress`, for tar and gzip. */
export interface CompressOptions {
  /** The file to write; its ending says how: `.tar`, `.tar.gz`, `.tgz`, `.gz` (of one file). `{{.BuildName}}` and `{{.BuilderType}}` are filled in. Default: `packer_{{.BuildName}}_{{.BuilderType}}.tar.gz`. */
  output?: string;
  /** 1 (fast) to 9 (small). Default: the library's. */
  compressionLevel?: number;
  /** Keep the files that went in. Default: false; files of the builder itself always stay. Same as Packer's `keep_input_artifact`. */
  keepInput?: boolean;
}

const schema = schemaOf<CompressOptions>()(
  optionsSchema({
    output: z
      .string()
      .regex(/\.(tar|tar\.gz|tgz|gz)$/, "expected a name that ends in .tar, .tar.gz, .tgz or .gz")
      .optional(),
    compressionLevel: z.int().min(1).max(9).optional(),
    keepInput: z.boolean().optional(),
  }),
);

export const definition: Definition<CompressOptions, PostProcessor> = {
  type: "compress",
  schema,
  title: (options) => `compress: ${options.output ?? "tar.gz"}`,
  sources: () => [],
  placeOptions: ["output"],
  planMade: (options, context) => [`file:${outputOf(options, context)}`],
  create: (options) => ({
    async process(context, input) {
      const output = outputOf(options, context);
      const hash = await writeArchive(context, requireFiles(input, "compress"), output, options);
      return {
        artifact: { ...input, kind: "file", id: `sha256:${hash}`, files: [output] },
        made: [`file:${output}`],
        consumesInput: !options.keepInput,
      };
    },
  }),
};

function outputOf(options: CompressOptions, context: { name: string; platform: string }): string {
  return renderOutput(context, options.output ?? "packer_{{.BuildName}}_{{.BuilderType}}.tar.gz");
}

async function writeArchive(
  context: BuildContext,
  files: string[],
  output: string,
  options: CompressOptions,
): Promise<string> {
  const target = path.resolve(context.cwd, output);
  const draft = `${target}.${context.buildId}.draft`;
  const isTar = /\.(tar|tar\.gz|tgz)$/.test(output);
  if (!isTar && files.length > 1)
    throw new Error(
      `compress: ${output} can hold one file only, and there are ${files.length}. Use a name that ends in .tar.gz`,
    );
  context.defer(`removing ${draft}`, () => fs.promises.rm(draft, { force: true }), "failure");
  await fs.promises.mkdir(path.dirname(target), { recursive: true });
  const source = isTar
    ? packFiles(context.cwd, files)
    : fs.createReadStream(path.resolve(context.cwd, files[0] ?? ""));
  const gzip = output.endsWith("gz") ? [createGzip({ level: options.compressionLevel })] : [];
  const hash = createHash("sha256");
  const watchHash = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  await pipeline([source, ...gzip, watchHash, fs.createWriteStream(draft)], { signal: context.signal });
  await fs.promises.rename(draft, target);
  return hash.digest("hex");
}

function packFiles(cwd: string, files: string[]): Readable {
  const pack = tar.pack();
  const write = async (): Promise<void> => {
    for (const file of files) {
      const full = path.resolve(cwd, file);
      const stat = await fs.promises.stat(full);
      const sink = pack.entry({
        name: path.basename(file),
        size: stat.size,
        mode: stat.mode & 0o777,
        mtime: stat.mtime,
      });
      await pipeline(fs.createReadStream(full), sink as unknown as NodeJS.WritableStream);
    }
    pack.finalize();
  };
  write().catch((error: unknown) => pack.destroy(error as Error));
  return Readable.from(pack, { objectMode: false });
}
