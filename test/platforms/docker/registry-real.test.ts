import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { parseReference } from "../../../src/platforms/docker/reference";
import { deleteManifest, findManifest } from "../../../src/platforms/docker/registry";

const manifestType = "application/vnd.oci.image.manifest.v1+json";
const digestOf = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`;

const real = findProgram("docker-registry");
const skip = real === undefined && process.env.CI !== "true" && "docker-registry is not installed";
describe("the real registry", { skip }, () => {
  let folder: string;
  let host: string;
  let stop: () => Promise<void>;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "kiln-registry-"));
    host = `127.0.0.1:${await findFreePort()}`;
    const storage = { filesystem: { rootdirectory: join(folder, "data") }, delete: { enabled: true } };
    // YAML takes JSON.
    writeFileSync(
      join(folder, "config.yml"),
      JSON.stringify({ version: 0.1, storage, http: { addr: host } }),
    );
    const child = spawn("docker-registry", ["serve", join(folder, "config.yml")], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const exited = once(child, "exit");
    stop = async () => {
      child.kill();
      await exited;
    };
    for await (const line of createInterface(child.stderr)) if (line.includes("listening on")) break;
    child.stderr.resume();
  });
  after(async () => {
    await stop();
    rmSync(folder, { recursive: true });
  });

  test("an image is found by tag and digest, deleted, and then not there", async () => {
    const app = parseReference(`${host}/me/app:1`);
    assert.equal(await findManifest(app), undefined);
    const digest = await pushEmptyImage(host, "me/app", "1");
    assert.deepEqual(await findManifest(app), { digest, mediaType: manifestType });
    assert.deepEqual(await findManifest(app, { platform: "linux/amd64" }), {
      digest,
      mediaType: manifestType,
    });
    await deleteManifest({ ...app, tag: undefined, digest });
    await deleteManifest({ ...app, tag: undefined, digest });
    assert.equal(await findManifest({ ...app, tag: undefined, digest }), undefined);
    assert.equal(await findManifest(app), undefined);
  });
});

function findProgram(name: string): string | undefined {
  try {
    return execFileSync("which", [name], { encoding: "utf8" }).trim();
  } catch {
    return undefined;
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Pushes an image of a configuration and no layers; returns the manifest's digest. */
async function pushEmptyImage(host: string, repository: string, tag: string): Promise<string> {
  const base = `http://${host}/v2/${repository}`;
  const config = JSON.stringify({
    architecture: "amd64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: [] },
  });
  const started = await fetch(`${base}/blobs/uploads/`, { method: "POST" });
  const upload = new URL(started.headers.get("location") ?? "", base);
  upload.searchParams.set("digest", digestOf(config));
  await fetch(upload, {
    method: "PUT",
    body: config,
    headers: { "Content-Type": "application/octet-stream" },
  });
  const configType = "application/vnd.oci.image.config.v1+json";
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: manifestType,
    config: { mediaType: configType, digest: digestOf(config), size: config.length },
    layers: [],
  });
  const headers = { "Content-Type": manifestType };
  const put = await fetch(`${base}/manifests/${tag}`, { method: "PUT", body: manifest, headers });
  assert.equal(put.status, 201, await put.text());
  return digestOf(manifest);
}
