/** Names that the user's program and the provider must agree on. Imports nothing. */

/** Options that are secret in state, and never shown. */
export const CREDENTIALS = ["secrets", "registryAuth"];

/** What the image alone decides of what a create gives. */
export const ARTIFACT_OUTPUTS = ["imageId", "sourceImageId", "sizeBytes"];

/** What a create gives beside what every image has. */
export const OUTPUTS = [...ARTIFACT_OUTPUTS, "reference", "references", "digest", "pinnedReference"];
