/** Which addresses the containers of a version get. Pure. */
import { addressAt, countAddresses, foreignRange, parseSubnet, proxyAddress } from "./subnet";

/** What is known of one generation: all containers that run the same thing. */
export interface Allotment {
  /** What they run, as a hash. */
  content: string;
  generation: number;
  addresses: string[];
  /** Where the next address is taken from: counts on, so that no address comes again soon. */
  next: number;
  subnet: string;
  proxyAddress: string;
  /** Where the engine may take addresses for others from. */
  foreignRange: string;
}

/** The same content keeps its addresses; another one gets others, since both run at the same time for a while. */
export function allot(
  previous: Partial<Allotment>,
  wish: { content: string; replicas: number; subnet: string },
): Allotment {
  const subnet = parseSubnet(wish.subnet);
  if (!subnet || countAddresses(subnet) < 2 * wish.replicas)
    throw new Error(`Giving ${wish.replicas} containers addresses in ${wish.subnet}: it is too small`);
  const isSame = previous.content === wish.content && previous.subnet === wish.subnet;
  const addresses = isSame ? (previous.addresses ?? []).slice(0, wish.replicas) : [];
  const taken = new Set(previous.subnet === wish.subnet ? previous.addresses : []);
  let next = previous.next ?? 0;
  while (addresses.length < wish.replicas) {
    const address = addressAt(subnet, next++);
    if (!taken.has(address)) addresses.push(address);
  }
  return {
    content: wish.content,
    generation: (previous.generation ?? 0) + (isSame ? 0 : 1),
    addresses,
    next,
    subnet: wish.subnet,
    proxyAddress: proxyAddress(subnet),
    foreignRange: foreignRange(subnet),
  };
}
