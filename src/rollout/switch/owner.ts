/** Who has a key of a proxy: it stands in the proxy's map, beside the key. For ever, as running proxies hold it. */
import { createHash } from "node:crypto";

/** A resource, and the names of its servers. */
export interface Owner {
  lineage: string;
  /** Hash of the resource's URN: the same for the resource that replaces it. */
  urn: string;
  /** Pulumi's id, another one for each create: a replaced resource must not remove what its successor has taken over. */
  id: string;
}

export function formatOwner({ lineage, urn, id }: Owner): string {
  return `${lineage}/${urn}/${id}`;
}

export function parseOwner(text: string): Owner {
  const [lineage = "", urn = "", id = ""] = text.split("/");
  return { lineage, urn, id };
}

export function hashUrn(urn: string): string {
  return createHash("sha256").update(urn).digest("hex").slice(0, 8);
}
