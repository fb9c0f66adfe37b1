import assert from "node:assert/strict";
import { test } from "node:test";
import { platform } from "../../src/platforms/docker/platform";
import { listSecretValues } from "../../src/provider/operation";
import type { Inputs } from "../../src/provider/state";

function list(options: Record<string, unknown>, secretOptions: string[] = []): string[] {
  return listSecretValues(platform as never, { ...options, __kiln: { secretOptions } } as unknown as Inputs);
}

test("a secret is one whatever its name", () => {
  const secrets = { username: "some-user", server: "db.internal", type: "hunter2", TOKEN: "abc123" };
  assert.deepEqual(list({ secrets }), Object.values(secrets));
  const environment = { username: "interpolated", type: "as well" };
  assert.deepEqual(list({ environment }, ["environment"]), Object.values(environment));
});

test("what stands beside a credential or a step's secret is none", () => {
  const registryAuth = [{ server: "registry.example", username: "me", password: "hunter2" }];
  assert.deepEqual(list({ registryAuth }), ["hunter2"]);
  assert.deepEqual(list({ registryAuth }, ["registryAuth"]), ["hunter2"]);
  const provisioners = [{ type: "shell", inline: ["use hunter2"], environment: { type: "hidden" } }];
  assert.deepEqual(list({ provisioners }, ["provisioners"]), ["use hunter2", "hidden"]);
  const postProcessors = [[{ type: "docker-tag", tags: ["hunter2"] }]];
  assert.deepEqual(list({ postProcessors }, ["postProcessors"]), ["hunter2"]);
});
