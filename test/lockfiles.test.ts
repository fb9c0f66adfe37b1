import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";

const root = path.join(__dirname, "../..");

interface Package {
  resolved?: string;
  [field: string]: unknown;
}

function readJson<Content>(file: string): Content {
  return JSON.parse(fs.readFileSync(path.join(root, file), "utf8")) as Content;
}

const readLocked = (file: string): Record<string, Package> =>
  readJson<{ packages: Record<string, Package> }>(file).packages;

test("the example's lockfile knows the package as it is: installing it changes no file of the clone", () => {
  const own = readJson<Package>("package.json");
  const locked = readLocked("examples/python-app/package-lock.json")["../.."];
  for (const field of [
    "version",
    "engines",
    "dependencies",
    "devDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
  ])
    assert.deepEqual(
      locked?.[field],
      own[field],
      `${field}: run npm install --package-lock-only in examples/python-app`,
    );
});

test("lockfiles name no download address: each machine has its own registry", () => {
  for (const file of ["package-lock.json", "examples/python-app/package-lock.json"]) {
    const addresses = Object.values(readLocked(file)).map(({ resolved }) => resolved);
    assert.deepEqual(
      addresses.filter((address) => address?.includes("//")),
      [],
    );
  }
});
