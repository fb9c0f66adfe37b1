/**
 * The vocabulary on one screen. A build is a function from options to a JSON artifact: a builder makes a machine,
 * has it provisioned through a communicator, and captures it; post-processors turn the artifact into further ones.
 */
import type { BuildContext } from "./context";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** What a build made. Plain JSON: it is kept in state, and must mean the same in a year. */
export interface Artifact {
  kind: string;
  id: string;
  /** Paths relative to the program's folder. */
  files?: string[];
  data: { [key: string]: Json };
}

/** What people know an artifact by. */
export function nameArtifact({ id, files = [] }: Pick<Artifact, "id" | "files">): string {
  return files[0] ?? id.slice(0, 19);
}

/** Makes a machine, has it provisioned, captures it. */
export interface Builder<A extends Artifact = Artifact> {
  build(context: BuildContext, provisioning: Provisioning): Promise<A>;
}

/** The provisioners of one build, as its builder sees them. */
export interface Provisioning {
  readonly steps: readonly ProvisioningStep[];
  /** Runs the steps in order. With a keeper, it has the machine made first, and those steps are left out that it holds the result of. */
  run(communicator: Communicator, keeper?: StageKeeper): Promise<void>;
}

/** How a builder makes its machine, where it can save the machine between steps and go back to it. */
export interface StageKeeper {
  /** All that steps run under, the source by its content: it names the machine before the first step, on any engine. */
  readonly machine: { [key: string]: Json | undefined };
  /** The machine before the first step is worth a stage too: it takes long to get there. */
  readonly savesStart?: boolean;
  /** Which of these stages there are. */
  findStages(keys: readonly string[]): Promise<ReadonlySet<string>>;
  /** A step begins; with `mayBeStage`, the machine after it may be saved as it is. */
  beginStep?(step: { mayBeStage: boolean }): void;
  /** How much of the steps' time was spent on starting the machine, which a stage does not save. */
  readonly startMs?: number;
  /** The machine stands on an image that holds all that was done to it: saving it costs nothing, and it goes on as it is. */
  readonly isStage?: boolean;
  /** Makes the machine, as it was saved under the key or from the source; in place of the one that there was. `isSaved`: stages may be made of it. */
  openMachine(key: string | undefined, options: { isSaved: boolean }): Promise<void>;
  /** Marks stages that were found as used by this build. */
  claimStages(keys: readonly string[]): Promise<void>;
  /** Why a stage could not hold the machine as it is now: a process that lives on, content that is not saved. */
  findObstacle(): Promise<string | undefined>;
  /** About how much a stage would add. */
  measureBytes(): Promise<number>;
  /** Whether one of the texts is in what a stage would hold; "" is never asked for. */
  containsText(pattern: RegExp): Promise<boolean>;
  /** Saves the machine: all or nothing, whatever happens meanwhile. */
  saveStage(key: string): Promise<void>;
  /** After a stage was saved: the builder may go on from it instead of from the machine. */
  continueFrom(key: string, stage: { isLast: boolean; sizeBytes: number }): Promise<void>;
}

export interface ProvisioningStep {
  readonly title: string;
}

export interface ExecOptions {
  signal: AbortSignal;
  /** Reaches the command by its environment, never by its command line. */
  environment?: Record<string, string>;
  stdin?: Buffer | string;
  onOutput?: (chunk: Buffer) => void;
  /** It may cut the connection, and what is left of it then goes on; else that is ended before the next command. */
  expectDisconnect?: boolean;
}

export interface ExecResult {
  exitCode: number;
}

/** A connection to the machine being built. */
export interface Communicator {
  readonly os: "unix" | "windows";
  /** Waits until the machine can be reached again, after a reboot that a step asked for. */
  reconnect(signal: AbortSignal): Promise<void>;
  /** Runs a command line in the machine's shell. Resolves for every exit code; rejects only if the connection is lost (`ConnectionLostError`) or aborted. */
  exec(command: string, options: ExecOptions): Promise<ExecResult>;
  /** Sends files. `remote` is taken literally, or as a folder if it ends in "/". */
  upload(local: LocalSource, remote: string, signal: AbortSignal): Promise<void>;
  /** Fetches a file or, with `folder`, a folder's contents. */
  download(remote: string, local: string, options: { folder: boolean; signal: AbortSignal }): Promise<void>;
  close(): Promise<void>;
}

/** What an upload sends: a path with the rules of what it leaves out, or text made here. */
export type LocalSource = { path: string; ignore?: readonly string[] } | { content: Buffer; mode: number };

/** Changes the machine. */
export interface Provisioner {
  provision(context: BuildContext, communicator: Communicator): Promise<void>;
}

/** Makes something of an artifact: another name, a file, an entry in a list. */
export interface PostProcessor {
  process(context: BuildContext, input: Artifact): Promise<PostProcessed>;
}

export interface PostProcessed {
  /** What the next post-processor of the sequence gets. */
  artifact: Artifact;
  /** Everything that this post-processor made and its removal must undo, as `scheme:rest`: `file:dist/app.tar`, `docker-tag:app:1.0`. */
  made: string[];
  /** The input's files are not needed any more (`keepInput: false`). */
  consumesInput?: boolean;
}

/** A zod schema. No public type names zod: every user's compiler would have to read all of its types. */
export interface OptionsSchema<Options> {
  readonly _output: Options;
}

/** How one kind of unit comes from its options. */
export interface Definition<Options, Unit, Connection = unknown> {
  readonly type: string;
  readonly schema: OptionsSchema<Options>;
  /** One line for the display, without secrets. */
  title(options: Options): string;
  /** Local paths whose contents belong to the fingerprint. Not called while one of `pathOptions`, or `ignore`, is unknown. */
  sources(options: Options): { path: string; ignore?: readonly string[] }[];
  /** Names of the image's `secrets` that it uses. */
  secretNames?(options: Options): string[];
  /** Options that hold local paths: absolute ones are made relative, and the text of none enters the fingerprint (the contents of `sources` do). */
  pathOptions?(options: Options): readonly (keyof Options & string)[];
  /** Options that hold local paths whose text does enter it, such as a folder to run in; what is named `output` is one anyway. */
  readonly placeOptions?: readonly (keyof Options & string)[];
  /** What of a source's path shapes the result, e.g. the name that it gets in the machine; "." and ".." are refused. */
  nameSources?(options: Options): string[];
  /** What a post-processor of these options will make: see `PostProcessed.made`. */
  planMade?(options: Options, context: { name: string; platform: string }): string[];
  /** Its effect is not all in the machine (a command beside it, a download): a stage cannot hold that. */
  actsElsewhere?(options: Options): boolean;
  /** Options that say how to run, not what comes out: they are left out of the fingerprint. */
  readonly notIdentity?: readonly (keyof Options & string)[];
  create(options: Options, connection: Connection): Unit;
}

/** A unit as the user's program sends it: its type and its options. */
export interface UnitOptions {
  type: string;
  [option: string]: unknown;
}
