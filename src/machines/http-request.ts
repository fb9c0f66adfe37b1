/** Requests for downloads: redirects, a deadline for silence, and errors that name the URL without its secrets. */
import * as http from "node:http";
import * as https from "node:https";
import { TimeoutError } from "../core/errors";
import { formatDuration } from "../core/duration";
import { throwIfAborted } from "../core/retry";

/** How long a server may be silent. */
export const IDLE_MS = 60_000;
const MOST_REDIRECTS = 10;
const LONGEST_TEXT_BYTES = 16 * 1024 * 1024;

/** The server answered, but not with the file. */
export class HttpStatusError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
    this.name = "HttpStatusError";
  }

  /** Another try may be answered otherwise. */
  get isPassing(): boolean {
    return this.status >= 500 || this.status === 408 || this.status === 429;
  }
}

/** A URL for people: user, password and what follows "?" may be secrets. Other texts stay as they are. */
export function hideSecrets(text: string): string {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return text;
  const url = new URL(text);
  const user = url.username === "" && url.password === "" ? "" : "[hidden]@";
  return `${url.protocol}//${user}${url.host}${url.pathname}${url.search === "" ? "" : "?[hidden]"}`;
}

export interface RequestOptions {
  headers?: http.OutgoingHttpHeaders;
  signal: AbortSignal;
  /** Default: 60 s. */
  idleMs?: number;
}

/** Asks for a URL, follows redirects, and gives the answer, whatever its status. Who calls must read or destroy it. */
export async function openUrl(url: string, options: RequestOptions): Promise<http.IncomingMessage> {
  let current = new URL(url);
  for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
    const response = await ask(current, options);
    const { location } = response.headers;
    if (![301, 302, 303, 307, 308].includes(response.statusCode ?? 0) || location === undefined)
      return response;
    response.destroy();
    const next = URL.canParse(location, current.href) ? new URL(location, current) : undefined;
    if (next?.protocol !== "http:" && next?.protocol !== "https:")
      throw new Error(
        `Fetching ${hideSecrets(url)}: it leads to ${hideSecrets(location)}, which is no HTTP URL.`,
      );
    if (current.protocol === "https:" && next.protocol === "http:")
      throw new Error(
        `Fetching ${hideSecrets(url)}: it leads from HTTPS to ${hideSecrets(next.href)}, where anybody could change it. Give that URL itself if it is right.`,
      );
    current = next;
  }
  throw new Error(
    `Fetching ${hideSecrets(url)}: it leads from one URL to another more than ${MOST_REDIRECTS} times.`,
  );
}

/** What a status other than success means for the user. */
export function describeStatus(url: string, response: http.IncomingMessage): HttpStatusError {
  const status = response.statusCode ?? 0;
  const advice =
    status === 404 || status === 410
      ? " Is the URL right? Distributions remove old files."
      : status === 401 || status === 403
        ? " Does the URL need a user and password, or has it expired?"
        : "";
  return new HttpStatusError(
    `Fetching ${hideSecrets(url)}: the server answered ${status} ${response.statusMessage ?? ""}.${advice}`.replace(
      " .",
      ".",
    ),
    status,
  );
}

/** A small text file. */
export async function fetchText(url: string, signal: AbortSignal): Promise<string> {
  const response = await openUrl(url, { signal, headers: { "accept-encoding": "identity" } });
  if (response.statusCode !== 200) {
    response.destroy();
    throw describeStatus(url, response);
  }
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  try {
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
      sizeBytes += (chunk as Buffer).length;
      if (sizeBytes > LONGEST_TEXT_BYTES)
        throw new Error(`it is longer than ${LONGEST_TEXT_BYTES} bytes. Is it the right file?`);
    }
  } catch (error) {
    throwIfAborted(signal);
    throw new Error(`Fetching ${hideSecrets(url)}: ${(error as Error).message}`, { cause: error });
  }
  return Buffer.concat(chunks).toString("utf8");
}

function ask(url: URL, { headers, signal, idleMs = IDLE_MS }: RequestOptions): Promise<http.IncomingMessage> {
  throwIfAborted(signal);
  const { request } = url.protocol === "https:" ? https : http;
  return new Promise((resolve, reject) => {
    // An own connection: one that was kept open may have been closed by the server a moment ago.
    const outgoing = request(url, { headers, signal, agent: false }, resolve);
    outgoing.setTimeout(idleMs, () => {
      const reason = `Fetching ${hideSecrets(url.href)}: nothing came for ${formatDuration(idleMs)}.`;
      outgoing.destroy(new TimeoutError(reason));
    });
    outgoing.on("error", (error) => {
      try {
        throwIfAborted(signal);
      } catch (abort) {
        return reject(abort);
      }
      if (error instanceof TimeoutError) return reject(error);
      reject(new Error(`Fetching ${hideSecrets(url.href)}: ${error.message}`, { cause: error }));
    });
    outgoing.end();
  });
}
