import type { Claim } from "../core/claims";
import { describeError } from "../core/errors";
import type { CommonOptions, Platform, Site } from "../core/platform";
import { logOf } from "./engine-log";

const PREVIEW_DEADLINE_MS = 2000;

export interface PreviewSite {
  site: Site<CommonOptions>;
  claims: Claim[];
}

const previews = new Map<string, Promise<PreviewSite | Error>>();

/** One connection, one list and one warning per place and run; each resource has its own credentials. Undefined where nothing answers: previews often run where there is no engine. */
export async function previewSite(
  platform: Platform,
  options: CommonOptions,
  urn: string,
): Promise<PreviewSite | undefined> {
  const key = `${platform.type} ${(options as { host?: string }).host ?? ""}`;
  let preview = previews.get(key);
  if (!preview) {
    preview = connect(platform, options);
    previews.set(key, preview);
    const result = await preview;
    if (result instanceof Error)
      logOf(urn).warnOnce(`which images exist cannot be told: ${describeError(result)}`);
  }
  const result = await preview;
  if (result instanceof Error) return undefined;
  const { site, claims } = result;
  return { site: site.withCredentials?.(options) ?? site, claims };
}

async function connect(platform: Platform, options: CommonOptions): Promise<PreviewSite | Error> {
  const signal = AbortSignal.timeout(PREVIEW_DEADLINE_MS);
  try {
    const site = await platform.connect(options, { signal, timeoutMs: PREVIEW_DEADLINE_MS });
    return { site, claims: await site.listClaims(signal) };
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
