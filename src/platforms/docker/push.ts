import type { Definition, PostProcessor } from "../../core/model";
import { optionsSchema, schemaOf } from "../../core/schema";
import { readPinned, readReferences } from "./references";
import type { DockerSite } from "./site";

/** Options of `kiln.docker.push`: none yet. Credentials are the image's `registryAuth`, or Docker's own. */
export type PushOptions = Record<string, never>;

const schema = schemaOf<PushOptions>()(optionsSchema({}));

export const definition: Definition<PushOptions, PostProcessor, DockerSite> = {
  type: "docker-push",
  schema,
  title: () => "push",
  sources: () => [],
  create: (_options, site) => ({
    async process(context, input) {
      const references = readReferences(input);
      if (references.length === 0)
        throw new Error(
          "Pushing: the image has no name to push. Put `kiln.docker.tag` before it in the same sequence",
        );
      const made = new Set<string>();
      const pinned = new Set(readPinned(input));
      for (const reference of references) {
        const colon = reference.lastIndexOf(":");
        const repository = reference.slice(0, colon);
        const onProgress = (text: string): void => context.log.progress(text);
        const digest = await site.driver.pushImage(
          repository,
          reference.slice(colon + 1),
          onProgress,
          context.signal,
        );
        context.log.info(`pushed ${reference} as ${digest}`);
        // A registry deletes by digest, whatever the tags; the engine keeps the digest as one more name of the image.
        pinned.add(`${repository}@${digest}`);
        made.add(`docker-push:${repository}@${digest}`).add(`docker-tag:${repository}@${digest}`);
      }
      return {
        artifact: { ...input, data: { ...input.data, pinnedReferences: [...pinned] } },
        made: [...made],
      };
    },
  }),
};
