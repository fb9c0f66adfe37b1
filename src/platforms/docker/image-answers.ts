/** What the engine answers about images and itself, as far as it is read. API: https://docs.docker.com/reference/api/engine/ */
import type { ImageConfig, ImageDetails } from "./driver";

export interface InfoAnswer {
  ID?: string;
  Name?: string;
  DockerRootDir?: string;
  /** Of the storage. */
  Driver?: string;
}

export interface ListAnswer {
  Id: string;
  ParentId?: string;
  RepoTags?: string[] | null;
  Size: number;
  /** In seconds. */
  Created: number;
}

export interface ImageAnswer {
  Id: string;
  Os: string;
  Architecture: string;
  Variant?: string;
  Parent?: string;
  Comment?: string;
  RootFS?: { Layers?: string[] | null };
  Size: number;
  RepoTags?: string[] | null;
  RepoDigests?: string[] | null;
  Config?: ImageConfig | null;
}

export function toImageDetails(answer: ImageAnswer): ImageDetails {
  return {
    id: answer.Id,
    os: answer.Os,
    architecture: answer.Architecture,
    variant: answer.Variant ?? "",
    parent: answer.Parent ?? "",
    comment: answer.Comment ?? "",
    layers: answer.RootFS?.Layers ?? [],
    sizeBytes: answer.Size,
    tags: answer.RepoTags ?? [],
    digests: answer.RepoDigests ?? [],
    config: answer.Config ?? {},
  };
}
