import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { check } from "../../src/provider";
import type { Inputs } from "../../src/provider/state";

let run = 0;

/** The inputs as the resource's constructor sends them. */
export function withHidden(
  args: Record<string, unknown>,
  urn = `urn:pulumi:dev::shop::type::app-${++run}`,
): Inputs {
  const hidden = {
    type: "docker:Image",
    stateVersion: 1,
    urn,
    from: "",
    project: "shop",
    stack: "dev",
    secretOptions: [],
    retain: false,
  };
  return { ...args, __kiln: hidden };
}

/** The checked inputs of options that must be right. */
export async function mustCheck(args: Record<string, unknown>, olds: Partial<Inputs> = {}): Promise<Inputs> {
  const { inputs, failures } = await check(olds, withHidden(args));
  assert.equal(failures, undefined, JSON.stringify(failures));
  assert.ok(inputs);
  return inputs;
}

/** What the check says against options that must be wrong. */
export async function mustRefuse(args: Record<string, unknown>): Promise<string> {
  const { failures } = await check({}, withHidden(args));
  assert.equal(failures?.length, 1, JSON.stringify(args));
  return failures[0]?.reason ?? "";
}

/** Writes files by their paths below a folder. */
export function write(folder: string, files: Record<string, string>): void {
  for (const [file, content] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    fs.writeFileSync(path.join(folder, file), content);
  }
}
