import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { QemuDriver } from "../../../src/platforms/qemu/driver";
import { findSource } from "../../../src/platforms/qemu/source";
import { inContext, makeFolder } from "../../support/context";

test("no error shows a password or a signature that is in the source's URL", async (t) => {
  const home = process.env["PULUMI_KILN_HOME"];
  process.env["PULUMI_KILN_HOME"] = makeFolder(t);
  const server = createServer((_request, response) => response.end("a disk")).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    if (home === undefined) delete process.env["PULUMI_KILN_HOME"];
    else process.env["PULUMI_KILN_HOME"] = home;
  });
  const isoUrl = `http://me:hunter2@127.0.0.1:${(server.address() as AddressInfo).port}/disk.qcow2?signature=s3cr3t`;
  const options = { isoUrl, isoChecksum: "none", diskImage: true, sshUsername: "debian", diskSize: "1MiB" };
  const inspections: QemuDriver["inspectDisk"][] = [
    () => Promise.reject(new Error("Image is not in qcow2 format")),
    () => Promise.resolve({ virtualSizeBytes: 2 ** 20, standsOn: "/etc/shadow" }),
    () => Promise.resolve({ virtualSizeBytes: 2 ** 30, standsOn: undefined }),
  ];
  for (const inspectDisk of inspections) {
    const driver = { inspectDisk } as QemuDriver;
    const work = inContext(
      t,
      async (context) => void (await findSource(context, driver, options, undefined)),
    );
    await assert.rejects(work, (error: Error) => {
      assert.match(error.message, /\[hidden\]@127\.0\.0\.1:\d+\/disk\.qcow2\?\[hidden\]/);
      assert.doesNotMatch(error.message, /hunter2|s3cr3t/);
      return true;
    });
  }
});
