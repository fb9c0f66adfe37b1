import type { Claim } from "./claims";
import type { BuildContext } from "./context";
import type { Duration } from "./duration";
import type { Size } from "./size";
import type { StageMark } from "./stage-claims";
import type { Artifact, Builder, Definition, Json, OptionsSchema, PostProcessor, UnitOptions } from "./model";

/** What every image resource takes; the provider reads these, a platform reads the rest. */
export interface CommonOptions {
  /** Steps that change the machine, in order: `kiln.shell`, `kiln.file`, `kiln.shellLocal`. */
  provisioners?: UnitOptions[];
  /** What is made of the finished image: a list, or a list of lists, each of which starts from the image. */
  postProcessors?: UnitOptions[] | UnitOptions[][];
  /** Secret values by name, for `secretEnvironment` of the steps. Never in logs, in the image or in readable state. */
  secrets?: Record<string, string>;
  /** Any values; a change of one forces a rebuild. */
  triggers?: Record<string, string>;
  /** The longest that a build may take. Default: "30m". */
  buildTimeout?: Duration;
  /** What happens to the build's machine after a failure: "cleanup" (default) removes it, "abort" keeps it for 24 hours and says how to get a shell in it. Same as Packer's `-on-error`. */
  onError?: "cleanup" | "abort";
  /** Save the machine between steps, so that a later build runs only what changed, and how much of that to keep. Default: true. */
  cache?: boolean | CacheOptions;
  /** How many replaced images stay, so that going back needs no build. A destroy removes them all. Default: 1. */
  keep?: number;
  /** An existing image, by id, reference or path, to take under management instead of a first build. Later changes build; a destroy removes only what was built. */
  adopt?: string;
}

/** How much of the stages that no image uses is kept, on the engine or machine that builds. */
export interface CacheOptions {
  /** The least recently used go first. Default: "10GB". */
  maxSize?: Size;
  /** Since its last use. Default: "30d". */
  maxAge?: Duration;
}

/** Values for dependents, by output name. */
export type Outputs = { [name: string]: Json };

/** One platform: what the provider must know to make its images and to look after them. */
export interface Platform<Options extends CommonOptions = CommonOptions> {
  /** Ends the type token, e.g. "docker:Image". For ever. */
  readonly type: string;
  /** For scripts, e.g. "docker". Packer's builder type. */
  readonly name: string;
  readonly schema: OptionsSchema<Options>;
  /** Post-processors beside the platform-neutral ones. */
  readonly postProcessors: readonly { unitType: string; load: () => unknown }[];
  /** Top-level options with credentials: never shown, never in outputs, where they would be stale for ever. */
  readonly credentialOptions: readonly string[];
  /** Outputs that `create` gives. */
  readonly outputNames: readonly string[];
  /** Those of them that the artifact alone decides: whatever post-processors do, they stay as long as it does. */
  readonly artifactOutputs: readonly string[];
  /** How many steps a build has beside its provisioners. */
  countOwnSteps(options: Options): number;
  /** What of the options shapes the artifact, beside provisioners and triggers; normalised, undefined where not set. */
  identify(options: Options): { [key: string]: Json | undefined };
  /**
   * The same options with this machine's folders taken out: `relativize` gives a path relative to the program's folder,
   * or as it was if it lies elsewhere. Runs before the options are validated.
   */
  localize?(options: Options, relativize: (text: string) => string): Options;
  /** Local files and folders beside those of the units whose contents shape the artifact. */
  listSources?(options: Options): { path: string }[];
  /** Who tells what `resolveBase` gives, and the values that it depends on; undefined where the source is not followed. */
  describeBase?(options: Options): { host: string; dependsOn: unknown[] } | undefined;
  /** Something that changes when the source does, where the user wants to follow it (`pull: "always"`). */
  resolveBase?(options: Options, signal: AbortSignal): Promise<string | undefined>;
  /** Reaches the place where the images are. `recorded` is where they were made: another place is an error of the caller's to judge. */
  connect(
    options: Partial<Options>,
    limits: { timeoutMs?: number; signal: AbortSignal },
  ): Promise<Site<Options>>;
  /** What dependents get. */
  describeOutputs(artifact: Artifact, results: readonly Artifact[]): Outputs;
  /** The same as far as the options tell, before there is an artifact. */
  predictOutputs(options: Options): Outputs;
  /** Local files that a build of these options writes. */
  listFiles?(options: Options): string[];
  /** Changes that no rebuild follows but that need the resource made anew, e.g. another engine. */
  listReplacing(before: Partial<Options>, after: Partial<Options>): string[];
  /** Whether it is looked after by claims at its site; else it is files that belong to one resource alone, or nothing. */
  isClaimed(artifact: Artifact): boolean;
  /** Whether something that a post-processor made is not at the site, but e.g. in a registry. */
  isRemote(made: string): boolean;
  /** Options whose change must reach the state, by an update. */
  readonly updateOptions: readonly (keyof Options & string)[];
}

export interface UndoOptions {
  /** Also what was sent elsewhere, e.g. to a registry. */
  deleteRemote: boolean;
  /** Whose artifact it was, if it goes: the mark to leave on one that is in use. */
  unwanted?: Pick<Claim, "owner" | "fingerprint" | "id">;
  signal: AbortSignal;
}

/** Who is about to claim an artifact that is there already: where each resource has its own place, that is where it gets it. */
export interface Claimant {
  /** The resource's. */
  name: string;
  buildId: string;
  claim: Omit<Claim, "artifactId">;
}

/** Where artifacts live: a Docker engine, a region of a cloud. Already gone is success everywhere; what cannot be told throws. */
export interface Site<Options> {
  readonly address: string;
  /** The place's own id, whatever its address. */
  readId(signal: AbortSignal): Promise<string>;
  /** The same place, by the same connection, for another resource; undefined where nothing depends on credentials. */
  withCredentials?(options: Partial<Options>): Site<Options>;

  listClaims(signal: AbortSignal): Promise<Claim[]>;
  putClaim(claim: Claim, signal: AbortSignal): Promise<void>;
  /** What uses the artifact, if that is why it stays. */
  dropClaim(claim: Claim, signal: AbortSignal): Promise<string | undefined>;
  collect(signal: AbortSignal): Promise<void>;

  createBuilder(options: Options, base: string | undefined, claim: Omit<Claim, "artifactId">): Builder;
  /** An existing artifact as `build` would have returned it, if it is there and fits the options. */
  findArtifact(
    artifactId: string,
    options: Options,
    signal: AbortSignal,
    claimant?: Claimant,
  ): Promise<Artifact | undefined>;
  /** More outputs that are known of an existing artifact without asking what post-processors did, if that resource gets it. */
  predictFound(
    artifactId: string,
    options: Options,
    resource: { name: string; fingerprint: string },
  ): Outputs;
  /** Fetches the artifact back to where post-processors can work on it, if it lives elsewhere too. */
  restore(artifact: Artifact, results: readonly Artifact[], signal: AbortSignal): Promise<boolean>;
  /** "here", "elsewhere" (in its registry), "gone". */
  locate(
    artifact: Artifact,
    results: readonly Artifact[],
    signal: AbortSignal,
  ): Promise<"here" | "elsewhere" | "gone">;
  /** Undoes what a post-processor made, if it is still of this artifact. */
  undo(made: string, artifact: Artifact, options: UndoOptions): Promise<void>;

  /** Marks on all stages that are kept here; undefined where machines cannot be saved. */
  listStages?(signal: AbortSignal): Promise<StageMark[]>;
  /** Takes a mark off; the stage goes with its last one, when nothing uses it. */
  dropStage?(mark: StageMark, signal: AbortSignal): Promise<void>;

  /** What became of something that a post-processor made, in words; undefined if it is as it was made. */
  findChange(made: string, artifact: Artifact, signal: AbortSignal): Promise<string | undefined>;
  /** An artifact that was there before kiln, found by what the user calls it. Whatever becomes of its claims, it is not removed. */
  takeOver(reference: string, options: Options, context: BuildContext): Promise<Artifact>;

  nameMachine(buildId: string): string;
  /** Removes what a dead build left. */
  removeMachine(name: string, signal: AbortSignal): Promise<void>;
  /** How to reach and how to remove a machine that was kept after a failure; undefined if there is none. */
  explainKept(name: string, signal: AbortSignal): Promise<string | undefined>;
}

export type PostProcessorDefinition = Definition<unknown, PostProcessor, Site<CommonOptions>>;
