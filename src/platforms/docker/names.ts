/** Names that the user's program and the provider must agree on. Imports nothing. */

/** Options that are secret in state, and never shown. */
export const CREDENTIALS = ["secrets", "registryAuth"];

/** What a create gives beside what every image has. */
export const OUTPUTS = [
  "imageId", "reference", "references", "digest", "pinnedReference", "sourceImageId", "sizeBytes",
]; // prettier-ignore
