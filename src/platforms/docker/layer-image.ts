/**
 * An image made of another one and a layer of files, without a container: in the form that the engine loads and saves images
 * (`docker load`; https://github.com/moby/docker-image-spec), but for the layers, which the engine has.
 */
import { createHash } from "node:crypto";
import { formatTarHeader, padTar, TAR_END } from "../../communicators/transfer/tar-writer";
import type { ImageDetails, LayerOptions } from "./driver";

/** Beginnings of the history entries of instructions that never make a layer. */
const NO_LAYER =
  /^(\/bin\/sh -c #\(nop\) *)?(ARG|CMD|ENTRYPOINT|ENV|EXPOSE|HEALTHCHECK|LABEL|MAINTAINER|ONBUILD|SHELL|STOPSIGNAL|USER|VOLUME)\b/;

/** One line of an image's history as the engine tells it, the newest first. */
export interface HistoryAnswer {
  /** In seconds. */
  Created: number;
  CreatedBy: string;
  Comment: string;
  Size: number;
}

interface HistoryEntry {
  created: string;
  created_by: string;
  comment?: string;
  empty_layer?: true;
}

/** What to load, in pieces of which each is overwritten when the next is asked for; the image's id is known at the end. */
export class LayerImage {
  /** Empty before the end of the stream. */
  id = "";

  constructor(
    private readonly options: LayerOptions,
    private readonly history: readonly HistoryEntry[],
  ) {}

  async *stream(): AsyncGenerator<Uint8Array> {
    const { archive, base, repository, tag } = this.options;
    const hash = createHash("sha256");
    yield nameFile("layer.tar", archive.measureBytes());
    for await (const piece of archive.stream()) {
      hash.update(piece);
      yield piece;
    }
    const config = Buffer.from(JSON.stringify(this.describe(`sha256:${hash.digest("hex")}`)));
    this.id = `sha256:${createHash("sha256").update(config).digest("hex")}`;
    const manifest = {
      Config: "config.json",
      RepoTags: [`${repository}:${tag}`],
      Layers: [...base.layers.map((_, index) => `present/${index}`), "layer.tar"],
    };
    for (const [name, content] of [
      ["config.json", config],
      ["manifest.json", Buffer.from(JSON.stringify([manifest]))],
    ] as const)
      yield Buffer.concat([nameFile(name, content.length), content, padTar(content.length)]);
    yield TAR_END;
  }

  private describe(diffId: string): unknown {
    const { base, comment } = this.options;
    const created = new Date().toISOString();
    return {
      architecture: base.architecture,
      ...(base.variant === "" ? {} : { variant: base.variant }),
      os: base.os,
      created,
      comment,
      config: base.config,
      rootfs: { type: "layers", diff_ids: [...base.layers, diffId] },
      history: [...this.history, { created, created_by: "files", comment }],
    };
  }
}

/**
 * The history of the image below, the oldest first; undefined where it cannot be told which entries made a layer: those that
 * hold something did, those of some instructions did not, and of others the engine does not say.
 */
export function readHistory(
  answers: readonly HistoryAnswer[],
  base: ImageDetails,
): HistoryEntry[] | undefined {
  const full = answers.filter(({ Size }) => Size > 0);
  const open = answers.filter(({ Size, CreatedBy }) => Size === 0 && !NO_LAYER.test(CreatedBy));
  const extra = base.layers.length - full.length;
  if (extra !== 0 && extra !== open.length) return undefined;
  const layers = new Set(extra === 0 ? full : [...full, ...open]);
  return [...answers].reverse().map((entry) => ({
    created: new Date(entry.Created * 1000).toISOString(),
    created_by: entry.CreatedBy,
    ...(entry.Comment === "" ? {} : { comment: entry.Comment }),
    ...(layers.has(entry) ? {} : { empty_layer: true }),
  }));
}

function nameFile(name: string, sizeBytes: number): Buffer {
  return formatTarHeader({ name, kind: "file", mode: 0o644, mtimeMs: 0, sizeBytes });
}
