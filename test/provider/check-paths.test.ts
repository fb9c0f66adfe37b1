import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { before, test } from "node:test";
import type { UnitOptions } from "../../src/core/model";
import { relativizePath } from "../../src/provider/units";
import { mustCheck, mustRefuse, write } from "../support/check";
import { makeFolder } from "../support/context";

before(() => {
  // No engine: what is tested here must not need one.
  process.env["DOCKER_HOST"] = "unix:///nonexistent/docker.sock";
});

test("a path that shares a folder with the program's is relative, a system's is not", () => {
  const cwd = path.resolve("/home/me/shop");
  const cases: [string, string][] = [
    ["/home/me/shop/app", "app"],
    ["/home/me/shop/app/", "app/"],
    ["/home/me/shop", "."],
    ["/home/me/shared/app", "../shared/app"],
    ["/home/you/app", "../../you/app"],
    ["/opt/app", "/opt/app"],
    ["/", "/"],
    ["app/", "app/"],
  ];
  for (const [text, expected] of cases) assert.equal(relativizePath(text, cwd), expected, text);
  assert.equal(relativizePath("/opt/app", "/"), "opt/app");
});

test("what is written, run in or mounted is relative in the inputs, and the same image in every folder", async (t) => {
  const inputs = [];
  for (const name of ["one", "two/deeper"]) {
    const folder = path.join(fs.realpathSync(makeFolder(t)), name);
    fs.mkdirSync(folder, { recursive: true });
    process.chdir(folder);
    const options = {
      image: "busybox",
      volumes: [
        `${folder}/data:/data:ro`,
        `${folder}:/all`,
        `${folder}/.cache:/cache`,
        `${path.dirname(folder)}/x:/x`.replace(path.dirname(folder), "/etc"),
        "named:/named",
        "/anonymous",
      ],
      provisioners: [{ type: "shell-local", inline: ["x"], workingDirectory: `${folder}/app` }],
    };
    const written = {
      postProcessors: [
        { type: "compress", output: `${folder}/dist/a.tar.gz` },
        { type: "checksum", output: `${folder}/a.checksum` },
        { type: "manifest", output: `${path.dirname(folder)}/manifest.json` },
        { type: "shell-local", inline: ["x"], workingDirectory: folder },
      ],
    };
    const saved = { postProcessors: [{ type: "docker-save", path: `${folder}/dist/a.tar` }] };
    inputs.push([
      await mustCheck({ ...options, ...written, exportPath: `${folder}/out/files.tar` }),
      await mustCheck({ ...options, ...saved }),
    ]);
    assert.ok(!JSON.stringify(inputs).includes(path.dirname(folder)));
  }
  const [[one, oneSaved] = [], [two, twoSaved] = []] = inputs;
  assert.equal(one?.["exportPath"], "out/files.tar");
  assert.deepEqual(one["volumes"], [
    "./data:/data:ro",
    ".:/all",
    "./.cache:/cache",
    "/etc/x:/x",
    "named:/named",
    "/anonymous",
  ]);
  assert.deepEqual((one["provisioners"] as UnitOptions[])[0]?.["workingDirectory"], "app");
  const processors = one["postProcessors"] as UnitOptions[];
  assert.deepEqual(
    processors.map((unit) => unit["output"] ?? unit["workingDirectory"]),
    ["dist/a.tar.gz", "a.checksum", "../manifest.json", "."],
  );
  assert.equal((oneSaved?.["postProcessors"] as UnitOptions[])[0]?.["path"], "dist/a.tar");
  assert.equal(one.fingerprint, two?.fingerprint);
  assert.equal(oneSaved?.fingerprint, twoSaved?.fingerprint);
});

test("a download's source is a path in the machine, its destination one here", async (t) => {
  const folder = fs.realpathSync(makeFolder(t));
  process.chdir(folder);
  const download = {
    type: "file",
    direction: "download",
    source: `${folder}/log`,
    destination: `${folder}/logs/`,
  };
  const checked = await mustCheck({ image: "busybox", provisioners: [download] });
  const [unit] = checked["provisioners"] as UnitOptions[];
  assert.equal(unit?.["source"], `${folder}/log`);
  assert.equal(unit["destination"], "logs/");
  const other = (change: object): Promise<{ fingerprint?: string }> =>
    mustCheck({ image: "busybox", provisioners: [{ ...download, ...change }] });
  assert.notEqual((await other({ source: "/var/other/log" })).fingerprint, checked.fingerprint);
  assert.equal((await other({ destination: "elsewhere" })).fingerprint, checked.fingerprint);
});

test("a folder whose name depends on where the program lies is refused, its contents are not", async (t) => {
  const parent = fs.realpathSync(makeFolder(t));
  const folder = path.join(parent, "program");
  write(folder, { "app/main.py": "x" });
  process.chdir(folder);
  const upload = (more: object): object => ({
    image: "busybox",
    provisioners: [{ type: "file", destination: "/srv", ...more }],
  });
  for (const source of [".", "..", "app/..", "app/.", parent, folder])
    assert.match(
      await mustRefuse({ ...upload({ source }) }),
      /^provisioners\[0\]: .*End it with "\/"/,
      source,
    );
  assert.match(await mustRefuse({ ...upload({ sources: ["app", ".."] }) }), /^provisioners\[0\]: /);
  for (const source of ["./", "../", `${parent}/`, `${folder}/`, "app", "../program"])
    await mustCheck({ ...upload({ source }) });
  await mustCheck({ ...upload({ source: "..", direction: "download" }) });
});
