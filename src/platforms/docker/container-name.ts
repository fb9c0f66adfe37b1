/** The names of a build's containers, the first one's first: the journal holds it too, and both must agree before anything is swept. */
export function nameContainers(machine: string): [string, string] {
  return [machine, `${machine}-next`];
}

/** The build container's name. */
export function nameContainer(buildId: string): string {
  return `kiln-${buildId}`;
}
