/**
 * The provider whose text is stored in every stack's state, and runs from there for years: it only finds the package and
 * calls it. Nothing may be captured but `load`, which uses free names only; the syntax is that of the oldest Node.
 */
import type * as pulumi from "@pulumi/pulumi";

type Method = (...args: unknown[]) => Promise<never>;

interface Located {
  __kiln?: { from?: string };
}

function load(method: string, located: Located): Method {
  const path = require("path");
  const here = process.cwd();
  const find = require("module").createRequire(path.join(here, "noop.js"));
  const from = located.__kiln && located.__kiln.from;
  const places = ["pulumi-kiln/provider"];
  // Where npm nested it, or pnpm hid it: as the program itself found it.
  if (from) places.push(path.join(here, from, "dist", "provider", "index.js"));
  if (process.env.PULUMI_KILN_PATH)
    places.push(path.join(process.env.PULUMI_KILN_PATH, "dist", "provider", "index.js"));
  for (const place of places) {
    let found = "";
    try {
      found = find.resolve(place);
    } catch (_missing) {
      continue;
    }
    return find(found)[method];
  }
  throw new Error(
    "Loading pulumi-kiln: it is not installed where this stack runs (looked from " +
      here +
      " for " +
      places.join(", ") +
      "). " +
      "Run npm install in the program's folder, or set PULUMI_KILN_PATH to the folder of the package",
  );
}

/** Everything that the engine may ask of an image. */
export const provider: pulumi.dynamic.ResourceProvider = {
  check: (olds, news) => load("check", news)(olds, news),
  diff: (id, olds, news) => load("diff", news)(id, olds, news),
  create: (inputs) => load("create", inputs)(inputs),
  read: (id, props) => load("read", props as Located)(id, props),
  update: (id, olds, news) => load("update", news)(id, olds, news),
  delete: (id, props) => load("delete", props)(id, props),
};
