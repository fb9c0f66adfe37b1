import * as fs from "node:fs/promises";
import * as path from "node:path";
import { z } from "zod";
import type { BuildContext } from "../core/context";
import type { Communicator, Definition, Provisioner } from "../core/model";
import { commonShape, optionsSchema, schemaOf } from "../core/schema";
import type { CommonProvisionerOptions } from "./common";

/** Options of `kiln.file`. Same as Packer's `file` provisioner, unless noted. */
export interface FileOptions extends CommonProvisionerOptions {
  /**
   * A local file or folder, relative to the program's folder; with `direction: "download"` a path in the machine.
   * A folder that ends in "/" gives its contents, one that does not gives itself. One of `source`, `sources`, `content`.
   */
  source?: string;
  /** Several of them. */
  sources?: string[];
  /** Text to be written to `destination`. */
  content?: string;
  /** Where to, in the machine. A file's destination that ends in "/" is a folder. Missing folders are made (Packer does not). */
  destination: string;
  /** Default: "upload". */
  direction?: "upload" | "download";
  /** What to leave out of a folder, in the rules of `.gitignore`, relative to the folder. Not in Packer. */
  ignore?: string[];
}

const schema = schemaOf<FileOptions>()(
  optionsSchema({
    ...commonShape,
    source: z.string().min(1).optional(),
    sources: z.array(z.string().min(1)).min(1).optional(),
    content: z.string().optional(),
    destination: z.string().min(1),
    direction: z.enum(["upload", "download"]).optional(),
    ignore: z.array(z.string()).optional(),
  }).check((context) => {
    const { content, direction, source, sources } = context.value;
    const problem = (message: string): void =>
      void context.issues.push({ code: "custom", input: context.value, message });
    if (content !== undefined && (source !== undefined || sources !== undefined))
      problem("expected `content` or a source, got both");
    if (content === undefined && source === undefined && sources === undefined)
      problem("expected `source`, `sources` or `content`, got none");
    if (content !== undefined && direction === "download")
      problem("`content` cannot be downloaded; remove `direction`");
  }),
);

export const definition: Definition<FileOptions, Provisioner> = {
  type: "file",
  schema,
  notIdentity: ["pauseBefore", "timeout", "maxRetries", "ignore"],
  pathOptions(options) {
    if (isUpload(options)) return ["source", "sources"];
    return options.direction === "download" ? ["destination"] : [];
  },
  title: describeTransfer,
  actsElsewhere: (options) => !isUpload(options),
  // What is downloaded comes out of the machine: it is no source.
  sources: (options) =>
    isUpload(options) ? sourcesOf(options).map((source) => ({ path: source, ignore: options.ignore })) : [],
  // `dir` makes a folder of that name, `dir/` and a file with a full destination do not.
  nameSources: (options) =>
    isUpload(options)
      ? sourcesOf(options).map((source) => (source.endsWith("/") ? "/" : path.basename(source)))
      : [],
  create: (options) => ({ provision: (context, communicator) => transfer(context, communicator, options) }),
};

/** Not, if the direction is not known yet: then nobody knows whose paths these are. */
function isUpload({ direction = "upload" }: FileOptions): boolean {
  return direction === "upload";
}

function sourcesOf(options: FileOptions): string[] {
  return [...(options.source === undefined ? [] : [options.source]), ...(options.sources ?? [])];
}

function describeTransfer(options: FileOptions): string {
  const sources = options.content === undefined ? sourcesOf(options) : ["(content)"];
  const what = sources.length > 1 ? `${sources[0]} (+${sources.length - 1})` : (sources[0] ?? "");
  return options.direction === "download"
    ? `file: ${what} from the machine`
    : `file: ${what} → ${options.destination}`;
}

async function transfer(
  context: BuildContext,
  communicator: Communicator,
  options: FileOptions,
): Promise<void> {
  const { signal, cwd } = context;
  if (options.content !== undefined) {
    return communicator.upload(
      { content: Buffer.from(options.content), mode: 0o644 },
      options.destination,
      signal,
    );
  }
  for (const source of sourcesOf(options)) {
    if (options.direction === "download") await download(context, communicator, source, options.destination);
    else
      await communicator.upload(
        { path: source, ignore: options.ignore },
        await remotePath(cwd, source, options.destination),
        signal,
      );
  }
}

/** Packer's rule of the trailing slash: `dir` becomes a folder below the destination, `dir/` its contents; a file goes into a destination that ends in "/". */
async function remotePath(cwd: string, source: string, destination: string): Promise<string> {
  const isFolder = (await fs.stat(path.resolve(cwd, source))).isDirectory();
  const asFolder = destination.endsWith("/") ? destination : `${destination}/`;
  if (isFolder) return source.endsWith("/") ? asFolder : `${asFolder}${path.basename(source)}/`;
  return destination.endsWith("/") ? `${destination}${path.basename(source)}` : destination;
}

async function download(
  context: BuildContext,
  communicator: Communicator,
  source: string,
  destination: string,
): Promise<void> {
  const folder = source.endsWith("/");
  const target = path.resolve(
    context.cwd,
    !folder && destination.endsWith("/") ? destination + path.posix.basename(source) : destination,
  );
  await fs.mkdir(folder ? target : path.dirname(target), { recursive: true });
  await communicator.download(source, target, { folder, signal: context.signal });
}
