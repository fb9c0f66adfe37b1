/** What the tests of sources work in. */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { fetchSource, type SourceFile, type SourceRequest } from "../../src/machines/source-file";
import { makeFolder } from "../support/context";
import { sha256, startBadServer, type BadServer } from "./bad-server";

export const CONTENT = randomBytes(300_000);
export const OTHER = randomBytes(250_000);
export const HALF = 150_000;

export interface World {
  home: string;
  server: BadServer;
  progress: string[];
  fetch(more?: Partial<SourceRequest>): Promise<SourceFile>;
}

/** A cache of its own, and a server with a file. */
export async function makeWorld(t: TestContext, content = CONTENT): Promise<World> {
  const home = makeFolder(t);
  process.env["PULUMI_KILN_HOME"] = home;
  const server = await startBadServer(t, content);
  const progress: string[] = [];
  return {
    home,
    server,
    progress,
    fetch: (more = {}) =>
      fetchSource({
        source: server.url,
        checksum: { algorithm: "sha256", digest: sha256(CONTENT) },
        cwd: home,
        signal: new AbortController().signal,
        onProgress: (done, total) => {
          server.receivedBytes = done;
          progress.push(`${done}/${total}`);
        },
        retryMs: 1,
        ...more,
      }),
  };
}

/** What is in the cache. */
export function downloads(home: string): string[] {
  const folder = path.join(home, "cache", "downloads");
  return fs.existsSync(folder) ? fs.readdirSync(folder).sort() : [];
}

export function assertContent(file: SourceFile, content: Buffer): void {
  assert.ok(fs.readFileSync(file.path).equals(content), "the content is right");
  assert.equal(file.sha256, sha256(content));
}

export const MD5 = { algorithm: "md5", digest: createHash("md5").update(CONTENT).digest("hex") } as const;
