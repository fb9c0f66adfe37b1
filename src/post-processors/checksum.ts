import * as fs from "node:fs";
import * as path from "node:path";
import { z } from "zod";
import { hashFile } from "../core/content-hash";
import type { Definition, PostProcessor } from "../core/model";
import { optionsSchema, schemaOf } from "../core/schema";
import { renderOutput, requireFiles } from "./files";

const TYPES = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"] as const;

/** Options of `kiln.checksum`. Same as Packer's `checksum`, but SHA-256 by default. */
export interface ChecksumOptions {
  /** Default: `["sha256"]` (Packer: md5). */
  checksumTypes?: ("md5" | "sha1" | "sha224" | "sha256" | "sha384" | "sha512")[];
  /** The file to write; `{{.BuildName}}`, `{{.BuilderType}}` and `{{.ChecksumType}}` are filled in. Default: `packer_{{.BuildName}}_{{.BuilderType}}_{{.ChecksumType}}.checksum`. */
  output?: string;
}

const schema = schemaOf<ChecksumOptions>()(
  optionsSchema({
    checksumTypes: z.array(z.enum(TYPES)).min(1).optional(),
    output: z.string().min(1).optional(),
  }),
);

export const definition: Definition<ChecksumOptions, PostProcessor> = {
  type: "checksum",
  schema,
  title: (options) => `checksum: ${typesOf(options).join(", ")}`,
  sources: () => [],
  placeOptions: ["output"],
  planMade: (options, context) => typesOf(options).map((type) => `file:${outputOf(options, context, type)}`),
  create: (options) => ({
    async process(context, input) {
      const files = requireFiles(input, "checksum");
      const written = new Map<string, string[]>();
      for (const type of typesOf(options)) {
        const output = outputOf(options, context, type);
        for (const file of files) {
          const digests = await hashFile(path.resolve(context.cwd, file), [type], context.signal);
          const line = `${digests.get(type)}\t${path.basename(file)}`;
          written.set(output, [...(written.get(output) ?? []), line]);
        }
      }
      for (const [output, lines] of written) {
        await fs.promises.mkdir(path.dirname(path.resolve(context.cwd, output)), { recursive: true });
        await fs.promises.writeFile(path.resolve(context.cwd, output), `${lines.join("\n")}\n`);
      }
      const outputs = [...written.keys()];
      return {
        artifact: { ...input, files: [...files, ...outputs] },
        made: outputs.map((output) => `file:${output}`),
      };
    },
  }),
};

function typesOf(options: ChecksumOptions): string[] {
  return options.checksumTypes ?? ["sha256"];
}

function outputOf(
  options: ChecksumOptions,
  context: { name: string; platform: string },
  type: string,
): string {
  const template = options.output ?? "packer_{{.BuildName}}_{{.BuilderType}}_{{.ChecksumType}}.checksum";
  return renderOutput(context, template, { ChecksumType: type });
}
