import { createHash } from "node:crypto";
import { formatReference, type Reference } from "./reference";
import { RegistryError, RegistrySession, type RegistryOptions } from "./registry-session";

/** A manifest by its content. */
export interface FoundManifest {
  digest: string;
  mediaType: string;
}

const indexTypes = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];
const manifestTypes = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];
const accept = [...indexTypes, ...manifestTypes].join(", ");

/** How registries say that there is nothing of this name. Harbor has a word of its own. */
const unknownCodes = new Set(["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"]);

interface IndexEntry {
  digest: string;
  mediaType: string;
  platform?: { os?: string; architecture?: string; variant?: string };
}

/**
 * What a reference points to in its registry. With a platform (`linux/arm64`) and a reference to an index: the
 * manifest of that platform. undefined only if the registry says that there is no such image; throws whatever
 * else keeps it from telling (no answer, no access, an error of the registry, no such platform in the index).
 */
export async function findManifest(
  reference: Reference,
  { platform, ...options }: RegistryOptions & { platform?: string } = {},
): Promise<FoundManifest | undefined> {
  const attempt = `Looking up ${formatReference(reference)} in its registry`;
  const session = new RegistrySession(reference, attempt, options);
  const path = manifestPath(reference);
  const head = await session.send("HEAD", path, { accept });
  if (head.status === 200) {
    const found = { digest: head.headers.get("docker-content-digest"), mediaType: readMediaType(head) };
    // Only an index must be opened, and a HEAD does not count against a registry's limit of pulls.
    if (found.digest && !(platform && indexTypes.includes(found.mediaType)))
      return { ...found, digest: found.digest };
  }
  // The answer to a HEAD has no body, so not even the reason of a refusal.
  const response = await session.send("GET", path, { accept });
  if (response.status === 404 && (await isUnknown(response))) return undefined;
  if (response.status !== 200) throw await session.explain(response);
  const bytes = Buffer.from(await session.readBody(response));
  const mediaType = readMediaType(response);
  if (platform && indexTypes.includes(mediaType)) return findPlatform(attempt, bytes, platform);
  const digest = response.headers.get("docker-content-digest");
  return { digest: digest ?? `sha256:${createHash("sha256").update(bytes).digest("hex")}`, mediaType };
}

/** Deletes what the digest names, with all its tags; the layers stay until the registry collects them. Already gone is success. */
export async function deleteManifest(reference: Reference, options: RegistryOptions = {}): Promise<void> {
  const attempt = `Deleting ${formatReference(reference)} from its registry`;
  if (!reference.digest)
    throw new RegistryError(attempt, "a tag cannot be deleted. Look up its digest first");
  const session = new RegistrySession(reference, attempt, options);
  const response = await session.send("DELETE", manifestPath(reference), { accept });
  if (response.status === 405) {
    const advice = "the registry does not allow deleting. Allow it there, or delete the image by hand";
    throw new RegistryError(attempt, advice, 405);
  }
  if (response.status !== 404 && !response.ok) throw await session.explain(response);
  await response.body?.cancel();
}

function manifestPath({ path, tag, digest }: Reference): string {
  return `/v2/${path}/manifests/${digest ?? tag ?? "latest"}`;
}

function readMediaType(response: Response): string {
  return (response.headers.get("content-type") ?? "").replace(/;.*$/, "").trim();
}

/** A 404 may also come from something that is no registry, and then says nothing about the image. */
async function isUnknown(response: Response): Promise<boolean> {
  const text = await response.clone().text();
  if (!text.startsWith("{")) return false;
  const { errors } = JSON.parse(text) as { errors?: { code?: string }[] };
  return errors?.some(({ code }) => unknownCodes.has(code ?? "")) ?? false;
}

function findPlatform(attempt: string, index: Buffer, platform: string): FoundManifest {
  const { manifests = [] } = JSON.parse(index.toString("utf8")) as { manifests?: IndexEntry[] };
  const wanted = normalizePlatform(platform);
  const found = manifests.find((entry) => normalizePlatform(formatPlatform(entry)) === wanted);
  if (found) return { digest: found.digest, mediaType: found.mediaType };
  // Attestations stand in the index as manifests of an unknown platform.
  const offered = manifests.map(formatPlatform).filter((name) => !name.startsWith("unknown"));
  throw new RegistryError(
    attempt,
    `it has nothing for ${platform}, only for ${offered.join(", ") || "no platform"}`,
  );
}

function formatPlatform({ platform }: IndexEntry): string {
  const { os = "unknown", architecture = "unknown", variant } = platform ?? {};
  return `${os}/${architecture}${variant ? `/${variant}` : ""}`;
}

/** Docker's defaults for what a platform leaves open: arm is v7, arm64 is v8. */
function normalizePlatform(platform: string): string {
  const [os = "", architecture = "", variant] = platform.toLowerCase().split("/");
  const names: { [name: string]: string } = { x86_64: "amd64", aarch64: "arm64", armhf: "arm" };
  const name = names[architecture] ?? architecture;
  const usual: { [name: string]: string } = { arm: "v7", arm64: "v8" };
  return [os, name, variant ?? usual[name] ?? ""].join("/");
}
