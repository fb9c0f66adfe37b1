/** IPv4 networks, as far as addresses for containers need them. */

/** Reserved for tests of network devices: no host, office or cloud has it in use. */
const POOL = { first: toNumber("198.18.0.0"), count: 256 };
const PREFIX = 23;
/** The engine gives the first to itself; the second is the proxy's. */
const FIRST_CONTAINER = 3;
/** The last eighth is for containers that others put into the network. */
const FOREIGN_SHARE = 1 / 8;

export interface Subnet {
  first: number;
  /** How many addresses it has. */
  size: number;
}

export function parseSubnet(text: string): Subnet | undefined {
  const [, address = "", prefix = ""] = /^(\d+\.\d+\.\d+\.\d+)\/(\d+)$/.exec(text) ?? [];
  const size = 2 ** (32 - Number(prefix));
  const first = toNumber(address);
  return address !== "" && Number.isInteger(first) && size <= 2 ** 24 && first % size === 0
    ? { first, size }
    : undefined;
}

/** The first free one, beginning at a place that differs from one component to the next. */
export function chooseSubnet(seed: number, used: readonly Subnet[]): string {
  const size = 2 ** (32 - PREFIX);
  for (let index = 0; index < POOL.count; index++) {
    const first = POOL.first + ((seed + index) % POOL.count) * size;
    if (used.every((other) => first + size <= other.first || other.first + other.size <= first))
      return `${toAddress(first)}/${PREFIX}`;
  }
  throw new Error(
    `Looking for a free subnet: all of ${toAddress(POOL.first)}/15 are in use. Set network.subnet`,
  );
}

export function proxyAddress(subnet: Subnet): string {
  return toAddress(subnet.first + FIRST_CONTAINER - 1);
}

/** Where the engine looks for an address for a container that names none. */
export function foreignRange(subnet: Subnet): string {
  const size = subnet.size * FOREIGN_SHARE;
  return `${toAddress(subnet.first + subnet.size - size)}/${32 - Math.log2(size)}`;
}

/** How many containers can have addresses at the same time. */
export function countAddresses(subnet: Subnet): number {
  return subnet.size * (1 - FOREIGN_SHARE) - FIRST_CONTAINER;
}

/** Goes round: an address comes again only after all others. */
export function addressAt(subnet: Subnet, index: number): string {
  return toAddress(subnet.first + FIRST_CONTAINER + (index % countAddresses(subnet)));
}

export function toNumber(address: string): number {
  const parts = address.split(".").map(Number);
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255))
    return NaN;
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

export function toAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join(".");
}
