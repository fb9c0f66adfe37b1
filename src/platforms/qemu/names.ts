/** Names that the user's program and the provider must agree on. Imports nothing. */

/** Options that are secret in state, and never shown. */
export const CREDENTIALS = ["secrets", "sshPassword", "sshBastionPassword", "sshProxyPassword"];

/** What a create gives beside what every image has. Not `format`, which is an option too, and the same. */
export const OUTPUTS = ["path", "sha256", "sizeBytes", "efiVariablesPath"];
