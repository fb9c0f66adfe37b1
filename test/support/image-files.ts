/** All that a machine made of an image can see, in a form that can be compared. */
import { createHash } from "node:crypto";
import * as tar from "tar-stream";
import { inspectImage, never, openDriver } from "./docker";

let made = 0;

/** Its files with their kinds, modes, owners and contents, and its configuration. */
export async function describeImage(image: string): Promise<{ files: string[]; config: unknown }> {
  const { Config: config } = (await inspectImage(image)) as { Config: Record<string, unknown> };
  // The engine notes there which container and image it was committed from.
  return { files: await listFiles(image), config: { ...config, Hostname: "", Image: "" } };
}

async function listFiles(image: string): Promise<string[]> {
  const driver = await openDriver();
  const name = `kiln-test-files-${process.pid}-${made++}`;
  const entrypoint = ["/bin/sh"];
  const id = await driver.createContainer({ name, image, entrypoint, command: [], hostConfig: {} }, never);
  try {
    const files: string[] = [];
    for await (const entry of (await driver.exportContainer(id, never)).pipe(tar.extract())) {
      const { name: path, type, mode, uid, gid, linkname } = entry.header;
      const hash = createHash("sha256");
      for await (const chunk of entry) hash.update(chunk as Buffer);
      files.push([path, type, mode?.toString(8), uid, gid, linkname, hash.digest("hex")].join(" "));
    }
    return files.sort();
  } finally {
    await driver.removeContainer(id, never);
  }
}
