/** The domain that Docker adds to a name without one. */
export const hubDomain = "docker.io";

/** An image's name in its full form; a part that the text did not give is absent, "latest" is not made up. */
export interface Reference {
  /** Host and port of the registry, such as "docker.io" or "localhost:5000". */
  domain: string;
  /** The repository below it, such as "library/python". */
  path: string;
  tag?: string;
  /** Algorithm and hex, such as "sha256:…". */
  digest?: string;
}

const maxNameLength = 255;
const maxTagLength = 128;

const domainPart = /^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$/;
const pathPart = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;
const digestPattern = /^[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;

/** Reads a reference as the `docker` command does: `python:3.9-slim` is docker.io/library/python. Throws with the reason. */
export function parseReference(text: string): Reference {
  const { reference, problem } = readReference(text);
  if (problem) throw new Error(`Reading the image reference "${text}": ${problem}.`);
  return reference;
}

/** Says what is wrong with a reference, or undefined if nothing is. */
export function validateReference(text: string): string | undefined {
  return readReference(text).problem;
}

/** Writes a reference out; `familiar` leaves off what Docker adds by itself, as `docker images` does. */
export function formatReference(reference: Reference, { familiar = false } = {}): string {
  const { tag, digest } = reference;
  return formatRepository(reference, { familiar }) + (tag ? `:${tag}` : "") + (digest ? `@${digest}` : "");
}

/** The reference without tag and digest, in the full or the familiar form. */
export function formatRepository({ domain, path }: Reference, { familiar = false } = {}): string {
  if (!familiar || domain !== hubDomain) return `${domain}/${path}`;
  const short = path.replace(/^library\//, "");
  // A first part that looks like a host would be read as one when it comes back.
  return short.includes("/") && splitDomain(short).domain !== hubDomain ? `${domain}/${path}` : short;
}

function readReference(text: string): { reference: Reference; problem?: string } {
  const [named = "", digest, ...more] = text.split("@");
  // A colon after the last slash begins the tag; one before it, a port.
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  const name = colon < 0 ? named : named.slice(0, colon);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  const reference: Reference = { ...splitDomain(name), ...(tag && { tag }), ...(digest && { digest }) };
  if (more.length > 0) return { reference, problem: "it has more than one @" };
  const problem = findNameProblem(name, reference) ?? findTagProblem(tag) ?? findDigestProblem(digest);
  return { reference, problem };
}

/** The first part is a registry if it could not be a folder: it has a dot, a port or a capital, or is "localhost". */
function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  const isDomain = /[.:A-Z]/.test(first) || first === "localhost";
  const domain = isDomain ? first.replace(/^index\.docker\.io$/, hubDomain) : hubDomain;
  const path = isDomain ? name.slice(slash + 1) : name;
  return { domain, path: domain === hubDomain && !path.includes("/") ? `library/${path}` : path };
}

function findNameProblem(name: string, { domain, path }: Reference): string | undefined {
  if (name === "") return "the name is empty";
  if (/\s/.test(name)) return "it holds white space";
  if (/^[0-9a-f]{64}$/.test(name))
    return "64 hex digits are an image id, not a name. Write sha256: before them";
  if (name.includes("://")) return "it is an address. Leave off the scheme";
  if (!isDomainName(domain)) return `"${domain}" is no valid host of a registry`;
  if (path !== path.toLowerCase()) return `the name must be lower case: ${path.toLowerCase()}`;
  if (path.length > maxNameLength)
    return `the name has ${path.length} characters; ${maxNameLength} are allowed`;
  const bad = path.split("/").find((part) => !pathPart.test(part));
  if (bad === undefined) return undefined;
  return bad === ""
    ? "the name has an empty part between slashes"
    : `"${bad}" is no valid part of a name. Letters and digits, divided by one of . _ __ or dashes, are`;
}

function isDomainName(domain: string): boolean {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:[\]]+)(:[0-9]+)?$/.exec(domain);
  const host = match?.[1];
  if (!host) return false;
  return host.startsWith("[") || host.split(".").every((part) => domainPart.test(part));
}

function findTagProblem(tag: string | undefined): string | undefined {
  if (tag === undefined) return undefined;
  if (tag === "") return "the tag after the colon is empty";
  if (tag.length > maxTagLength) return `the tag has ${tag.length} characters; ${maxTagLength} are allowed`;
  if (tagPattern.test(tag)) return undefined;
  return `"${tag}" is no valid tag. Letters, digits and _ . - are, and the first must not be . or -`;
}

function findDigestProblem(digest: string | undefined): string | undefined {
  if (digest === undefined) return undefined;
  if (!digestPattern.test(digest)) return `"${digest}" is no valid digest. Write sha256: and 64 hex digits`;
  if (digest.startsWith("sha256:") && !/^sha256:[0-9a-f]{64}$/.test(digest)) {
    return `a sha256 digest has 64 lower-case hex digits; "${digest}" is none`;
  }
  return undefined;
}
