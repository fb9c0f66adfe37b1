import { z } from "zod";
import type { Definition, PostProcessor } from "../../core/model";
import { optionsSchema, schemaOf } from "../../core/schema";
import { readReferences, repositorySchema } from "./references";
import type { DockerSite } from "./site";

/** Options of `kiln.docker.tag`. Same as Packer's `docker-tag`. */
export interface TagOptions {
  /** Repository without a tag, e.g. `ghcr.io/me/app`. */
  repository: string;
  /** Tags. Default: `["latest"]`. */
  tags?: string[];
}

const schema = schemaOf<TagOptions>()(
  optionsSchema({
    repository: repositorySchema,
    tags: z
      .array(z.string().regex(/^[\w][\w.-]{0,127}$/, "expected a tag (letters, digits, _ . -, at most 128)"))
      .min(1)
      .optional(),
  }),
);

export const definition: Definition<TagOptions, PostProcessor, DockerSite> = {
  type: "docker-tag",
  schema,
  title: (options) => `tag: ${listReferences(options).join(", ")}`,
  sources: () => [],
  planMade: (options) => listReferences(options).map((reference) => `docker-tag:${reference}`),
  create: (options, site) => ({
    async process(context, input) {
      for (const tag of options.tags ?? ["latest"])
        await site.driver.tagImage(input.id, options.repository, tag, context.signal);
      const references = [...new Set([...readReferences(input), ...listReferences(options)])];
      return {
        artifact: { ...input, data: { ...input.data, references } },
        made: listReferences(options).map((reference) => `docker-tag:${reference}`),
      };
    },
  }),
};

export function listReferences(options: TagOptions): string[] {
  return (options.tags ?? ["latest"]).map((tag) => `${options.repository}:${tag}`);
}
