import { z } from "zod";
import type { Artifact } from "../../core/model";
import { validateReference } from "./reference";

/** Names that post-processors earlier in the sequence gave. */
export function readReferences(artifact: Artifact): string[] {
  return (artifact.data["references"] as string[] | undefined) ?? [];
}

/** `repository@sha256:…` by which the image was pushed, the last first. */
export function readPinned(artifact: Artifact): string[] {
  return (artifact.data["pinnedReferences"] as string[] | undefined) ?? [];
}

export const repositorySchema = z.string().superRefine((text, context) => {
  const problem = validateReference(`${text}:tag`);
  if (problem !== undefined)
    context.addIssue({
      code: "custom",
      message: "expected a repository without a tag",
      params: { detail: problem },
    });
});
