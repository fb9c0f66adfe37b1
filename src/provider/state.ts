/** The shape of what Pulumi keeps for an image. States of years ago come back here: what is in them is for ever. */
import type { PostProcessRecord } from "../core/post-process";
import type { Artifact } from "../core/model";

export const STATE_VERSION = 1;

/** What the constructor passes along, and `check` adds to, under the one hidden key. */
export interface KilnInputs {
  /** Which platform, e.g. "docker:Image". */
  type: string;
  stateVersion: number;
  /** Where messages about the resource go. */
  urn: string;
  /** Where the package was found, relative to the program's folder. */
  from: string;
  project: string;
  stack: string;
  /** Top-level options that hold a secret. */
  secretOptions: string[];
  /** `retainOnDelete` of the resource. */
  retain: boolean;
  /** Tells apart stacks of the same name on different backends; minted once, carried over. */
  lineage?: string;
  /** Hash of the local files that post-processors use, if any: when it changes, `update` runs. */
  postSources?: string;
}

export interface Inputs {
  fingerprint?: string;
  /** Path of each source, or of its folders, and a short hash. */
  contents?: Record<string, string>;
  /** The digest that the source's tag points to, with `pull: "always"`. */
  baseDigest?: string;
  __kiln: KilnInputs;
  /** The text of the provider, which must be in everything that is kept. */
  __provider?: string;
  [option: string]: unknown;
}

/** Where an image is. */
export interface Place {
  /** Address of the engine or the service, for people. */
  endpoint: string;
  /** The place's own id: another one at the same address is another place. */
  engineId: string;
}

/** What was built, and where. */
export interface Built extends Place {
  artifact: Artifact;
  records: PostProcessRecord[];
  owner: string;
  /** It was there before; what kiln did not build it does not delete. */
  adopted?: boolean;
  /** Images of this resource that were replaced while the program ran at another place: they are tidied up when it comes back. */
  elsewhere?: LeftBehind[];
}

export interface LeftBehind extends Place {
  id: string;
  artifactId: string;
  /** If it is files: paths relative to the program's folder. */
  files?: string[];
  /** What post-processors made of it there. */
  made: string[];
}

export interface State extends Inputs {
  __kiln: KilnInputs & { built: Built };
  fingerprint: string;
  buildId: string;
  artifactId: string;
  artifacts: Artifact[];
  /** Something after the build failed: `update` finishes it. */
  incomplete?: boolean;
  /** What a refresh found missing or changed, in words: `update` puts it right. */
  drift?: string[];
}

/** What `check` adds to the options of the user, or the provider adds to outputs. */
export const COMPUTED = [
  "fingerprint",
  "contents",
  "baseDigest",
  "buildId",
  "artifactId",
  "artifacts",
  "incomplete",
  "drift",
];

/** What the user calls a resource. */
export function nameOf(urn: string): string {
  return urn.split("::").at(-1) ?? urn;
}
