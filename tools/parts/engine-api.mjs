/** As much of the Docker Engine's HTTP interface as the set-up needs, so that it needs no docker command. */
import { request } from "node:http";

/**
 * Where to connect for a DOCKER_HOST value.
 * @param {string} host
 * @returns {{ socketPath: string } | { host: string, port: number }}
 */
export function parseEngineHost(host) {
  const pipe = /^(?:unix|npipe):\/\/(.+)$/.exec(host)?.[1];
  if (pipe) return { socketPath: pipe };
  const address = /^(?:tcp|http):\/\/(\[[^\]]+\]|[^:/]+):(\d+)\/?$/.exec(host);
  if (address?.[1] && address[2]) return { host: address[1].replace(/[[\]]/g, ""), port: Number(address[2]) };
  throw new Error(
    `Connecting to the engine at "${host}": only unix://, npipe:// and plain tcp:// are understood.`,
  );
}

/**
 * @typedef {object} CallOptions
 * @property {import("node:stream").Readable} [body]
 * @property {number} [headersTimeoutMs] How long the engine may take until its answer begins.
 */

/**
 * Sends one request. Resolves for every status code with the whole answer as text.
 * @param {string} host
 * @param {string} method
 * @param {string} path
 * @param {CallOptions} [options]
 * @returns {Promise<{ status: number, text: string }>}
 */
export function callEngine(host, method, path, { body, headersTimeoutMs } = {}) {
  return new Promise((resolve, reject) => {
    const fail = (/** @type {Error} */ cause) =>
      reject(new Error(`${method} ${path} at ${host}: ${cause.message}`, { cause }));
    const headers = body ? { "content-type": "application/x-tar" } : {};
    const call = request({ ...parseEngineHost(host), method, path, headers });
    const deadline =
      headersTimeoutMs &&
      setTimeout(
        () => call.destroy(new Error(`no answer in ${headersTimeoutMs / 1000} s`)),
        headersTimeoutMs,
      );
    call.on("response", (response) => {
      clearTimeout(deadline);
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      response.on("error", fail);
    });
    call.on("error", (error) => {
      clearTimeout(deadline);
      fail(error);
    });
    if (body) body.on("error", (error) => call.destroy(error)).pipe(call);
    else call.end();
  });
}

/**
 * Whether an engine answers there within two seconds.
 * @param {string} host
 */
export async function engineAnswers(host) {
  try {
    const { status } = await callEngine(host, "GET", "/_ping", { headersTimeoutMs: 2000 });
    return status === 200;
  } catch {
    return false; // that is the question
  }
}

/**
 * Whether the engine holds an image of this name.
 * @param {string} host
 * @param {string} reference
 */
export async function hasImage(host, reference) {
  const { status, text } = await callEngine(host, "GET", `/images/${reference}/json`);
  if (status === 200) return true;
  if (status === 404) return false;
  throw new Error(
    `Looking for the image ${reference} at ${host}: the engine answered ${status} ${text.trim()}`,
  );
}

/**
 * Pulls an image. Throws soon where no registry answers; has all the time it needs once bytes flow.
 * @param {string} host
 * @param {string} reference with a tag
 */
export async function pullImage(host, reference) {
  const [image, tag] = splitReference(reference);
  const query = new URLSearchParams({ fromImage: image, tag });
  await createImage(host, query, `Pulling ${reference}`, { headersTimeoutMs: 15_000 });
}

/**
 * Makes an image from a tar of its files.
 * @param {string} host
 * @param {string} reference with a tag
 * @param {import("node:stream").Readable} tar
 * @param {readonly string[]} changes Dockerfile instructions, such as `CMD ["sh"]`
 */
export async function importImage(host, reference, tar, changes) {
  const [repo, tag] = splitReference(reference);
  const query = new URLSearchParams({ fromSrc: "-", repo, tag });
  for (const change of changes) query.append("changes", change);
  await createImage(host, query, `Importing ${reference}`, { body: tar });
}

/**
 * @param {string} host
 * @param {URLSearchParams} query
 * @param {string} title
 * @param {CallOptions} options
 */
async function createImage(host, query, title, options) {
  const { status, text } = await callEngine(host, "POST", `/images/create?${query}`, options);
  // The status is sent with the first line of progress; what fails later is one more line, with a key `error`.
  const failure = text.split("\n").find((line) => line.includes('"error"'));
  if (status !== 200 || failure) {
    throw new Error(`${title} at ${host}: the engine answered ${status} ${(failure ?? text).trim()}`);
  }
}

/**
 * Gives an image one more name.
 * @param {string} host
 * @param {string} reference
 * @param {string} newReference
 */
export async function tagImage(host, reference, newReference) {
  const [repo, tag] = splitReference(newReference);
  const { status, text } = await callEngine(
    host,
    "POST",
    `/images/${reference}/tag?${new URLSearchParams({ repo, tag })}`,
  );
  if (status !== 201) throw new Error(`Tagging ${reference} as ${newReference}: ${status} ${text.trim()}`);
}

/**
 * @param {string} reference
 * @returns {[string, string]}
 */
function splitReference(reference) {
  const colon = reference.lastIndexOf(":");
  return [reference.slice(0, colon), reference.slice(colon + 1)];
}
