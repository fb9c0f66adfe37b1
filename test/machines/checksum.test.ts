import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { parseChecksum, resolveChecksum } from "../../src/machines/checksum";
import { makeFolder } from "../support/context";

const MD5 = "d41d8cd98f00b204e9800998ecf8427e";
const SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
const SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SHA256B = "f".repeat(64);
const SHA512 = "0".repeat(128);
const never = new AbortController().signal;

for (const [text, algorithm, digest] of [
  [MD5, "md5", MD5],
  [SHA1, "sha1", SHA1],
  [SHA256.toUpperCase(), "sha256", SHA256],
  [SHA512, "sha512", SHA512],
  [`sha256:${SHA256}`, "sha256", SHA256],
  [`SHA512:${SHA512}`, "sha512", SHA512],
  [` md5:${MD5}\n`, "md5", MD5],
] as const)
  test(`${text.slice(0, 20)}… is ${algorithm}`, () =>
    assert.deepEqual(parseChecksum(text), { algorithm, digest }));

test("a checksum may be in a file, or not be there", () => {
  assert.deepEqual(parseChecksum("file:https://x/SHA256SUMS"), { file: "https://x/SHA256SUMS" });
  assert.deepEqual(parseChecksum("file:./sums"), { file: "./sums" });
  assert.equal(parseChecksum("none"), "none");
});

for (const [text, expected] of [
  ["", /expected the hexadecimal digits of an MD5, SHA-1, SHA-256 or SHA-512, or "sha256:<digits>"/],
  ["abc", /Reading the checksum "abc": expected the hexadecimal/],
  [`sha256:${MD5}`, /64 hexadecimal digits after "sha256:", got 32 characters/],
  [`sha999:${MD5}`, /expected the hexadecimal/],
  ["file:", /expected the hexadecimal/],
  ["z".repeat(64), /64 hexadecimal digits/],
] as const)
  test(`${JSON.stringify(text.slice(0, 20))} is none`, () =>
    assert.throws(() => parseChecksum(text), expected));

const URL_OF_SOURCE = "https://host/debian/12/disk.qcow2?token=x";

const lists: [what: string, list: string, found: { algorithm: string; digest: string } | RegExp][] = [
  ["GNU's form", `${SHA256B}  other\n${SHA256}  disk.qcow2\n`, { algorithm: "sha256", digest: SHA256 }],
  ["GNU's binary form", `${SHA256} *disk.qcow2\r\n`, { algorithm: "sha256", digest: SHA256 }],
  [
    "BSD's form",
    `SHA256 (other) = ${SHA256B}\nSHA256 (disk.qcow2) = ${SHA256}`,
    { algorithm: "sha256", digest: SHA256 },
  ],
  [
    "a relative path",
    `${SHA256B}  11/disk.qcow2\n${SHA256}  ./12/disk.qcow2\n`,
    { algorithm: "sha256", digest: SHA256 },
  ],
  ["a path from elsewhere", `${SHA256}  ../12/disk.qcow2\n`, { algorithm: "sha256", digest: SHA256 }],
  ["a digest alone", `${SHA512}\n`, { algorithm: "sha512", digest: SHA512 }],
  [
    "the strongest of several",
    `MD5 (disk.qcow2) = ${MD5}\nSHA1 (disk.qcow2) = ${SHA1}\n`,
    { algorithm: "sha1", digest: SHA1 },
  ],
  [
    "a signed list",
    `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# disk.qcow2: 5 bytes\nSHA256 (disk.qcow2) = ${SHA256}\n-----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCAAdFiEE\n=abcd\n`,
    { algorithm: "sha256", digest: SHA256 },
  ],
  [
    "no such name",
    `${SHA256}  disk.qcow2.xz\n${SHA256B}  b\n`,
    /checksum of "disk\.qcow2" in .*sums: no line names it\. It has 2 checksums: disk\.qcow2\.xz, b/,
  ],
  [
    "the name in another folder",
    `${SHA256}  11/disk.qcow2\n`,
    /no line names it\. It has 1 checksums: 11\/disk\.qcow2/,
  ],
  [
    "two digests of the name",
    `${SHA256}  disk.qcow2\n${SHA256B}  disk.qcow2\n`,
    /stands there 2 times, with different digests/,
  ],
  ["no list at all", "<html>not found</html>", /no line of it is a checksum/],
  ["an empty list", "", /no line of it is a checksum/],
];

for (const [what, list, found] of lists)
  test(`a list with ${what}`, async (t) => {
    const cwd = makeFolder(t);
    fs.writeFileSync(path.join(cwd, "sums"), list);
    const resolving = resolveChecksum("file:sums", URL_OF_SOURCE, { cwd, signal: never });
    if (found instanceof RegExp) await assert.rejects(resolving, found);
    else assert.deepEqual(await resolving, found);
  });

test("a name that only ends like the source's is another file", async (t) => {
  const cwd = makeFolder(t);
  fs.writeFileSync(path.join(cwd, "sums"), `${SHA256}  disk.qcow2\n`);
  for (const source of ["my-disk.qcow2", "https://host/my-disk.qcow2"])
    await assert.rejects(
      resolveChecksum("file:sums", source, { cwd, signal: never }),
      /checksum of "my-disk\.qcow2" in sums: no line names it/,
    );
});

test("a list may be at a path, a file URL or a server; a source may be a path", async (t) => {
  const cwd = makeFolder(t);
  const file = path.join(cwd, "sums");
  fs.writeFileSync(file, `${SHA256}  disk.qcow2\n`);
  const server = http.createServer((request, response) => {
    if (request.url === "/moved") response.writeHead(302, { location: "/sums" }).end();
    else if (request.url?.startsWith("/sums")) response.end(fs.readFileSync(file));
    else response.writeHead(404).end();
  });
  t.after(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const base = `http://user:secret@127.0.0.1:${(server.address() as AddressInfo).port}`;
  const resolve = (list: string, source = URL_OF_SOURCE): ReturnType<typeof resolveChecksum> =>
    resolveChecksum(`file:${list}`, source, { cwd, signal: never, timeoutMs: 60_000 });
  for (const list of [file, pathToFileURL(file).href, `${base}/sums`, `${base}/moved`])
    assert.deepEqual(await resolve(list), { algorithm: "sha256", digest: SHA256 });
  for (const source of ["disk.qcow2", "images/disk.qcow2", "file:///images/disk.qcow2"])
    assert.equal((await resolve("sums", source))?.digest, SHA256);
  await assert.rejects(resolve("nothing"), /Reading the checksums .*nothing: ENOENT/);
  const missing = await resolve(`${base}/sums?key=secret`, "other").then(String, String);
  assert.match(missing, /checksum of "other" in http:.*\/sums\?\[hidden\]: no line names it/);
  assert.doesNotMatch(missing, /secret/);
  const error = await resolve(`${base}/nothing?key=secret`).then(String, String);
  assert.match(
    error,
    /Fetching http:\/\/\[hidden\]@127\.0\.0\.1:\d+\/nothing\?\[hidden\]: the server answered 404/,
  );
  assert.doesNotMatch(error, /secret/);
});

test("a server that does not answer in time is named", async (t) => {
  const server = http.createServer(() => undefined);
  t.after(() => (server.closeAllConnections(), server.close()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/sums`;
  await assert.rejects(
    resolveChecksum(`file:${url}`, URL_OF_SOURCE, { cwd: "/", signal: never, timeoutMs: 20 }),
    /Fetching the checksums http:.*\/sums: not finished in time/,
  );
});

test("digests themselves need no file", async () => {
  const options = { cwd: "/nowhere", signal: never };
  assert.equal(await resolveChecksum("none", "x", options), undefined);
  assert.deepEqual(await resolveChecksum(SHA256, "x", options), { algorithm: "sha256", digest: SHA256 });
});
