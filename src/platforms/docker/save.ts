import * as fs from "node:fs";
import * as path from "node:path";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import type { Definition, PostProcessor } from "../../core/model";
import { optionsSchema, schemaOf } from "../../core/schema";
import { readReferences } from "./references";
import type { DockerSite } from "./site";

/** Options of `kiln.docker.save`. Same as Packer's `docker-save`. */
export interface SaveOptions {
  /** The file to write, relative to the program's folder. */
  path: string;
}

const schema = schemaOf<SaveOptions>()(optionsSchema({ path: z.string().min(1) }));

export const definition: Definition<SaveOptions, PostProcessor, DockerSite> = {
  type: "docker-save",
  schema,
  placeOptions: ["path"],
  title: (options) => `save: ${options.path}`,
  sources: () => [],
  planMade: (options) => [`file:${options.path}`],
  create: (options, site) => ({
    async process(context, input) {
      const target = path.resolve(context.cwd, options.path);
      const draft = `${target}.${context.buildId}.draft`;
      context.defer(`removing ${draft}`, () => fs.promises.rm(draft, { force: true }), "failure");
      await fs.promises.mkdir(path.dirname(target), { recursive: true });
      const names = readReferences(input);
      const stream = await site.driver.saveImages(names.length > 0 ? names : [input.id], context.signal);
      await pipeline(stream, fs.createWriteStream(draft), { signal: context.signal });
      await fs.promises.rename(draft, target);
      return { artifact: { ...input, files: [options.path] }, made: [`file:${options.path}`] };
    },
  }),
};
