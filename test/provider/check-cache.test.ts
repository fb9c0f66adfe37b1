import assert from "node:assert/strict";
import { before, test } from "node:test";
import { mustCheck, mustRefuse } from "../support/check";

before(() => {
  // No engine: what is tested here must not need one.
  process.env["DOCKER_HOST"] = "unix:///nonexistent/docker.sock";
});

const steps = (more: object): object => ({
  image: "tiny",
  provisioners: [{ type: "shell", inline: ["true"], ...more }],
});

test("what is said about the cache makes no other image", async () => {
  const { fingerprint } = await mustCheck({ ...steps({}) });
  for (const cache of [true, false, { maxSize: "5GB" }, { maxAge: "7d", maxSize: "1.5TB" }])
    assert.equal((await mustCheck({ ...steps({}), cache })).fingerprint, fingerprint);
  assert.equal((await mustCheck({ ...steps({ cache: true }) })).fingerprint, fingerprint);
});

test("a wrong word about the cache is answered with what is expected", async () => {
  assert.match(
    await mustRefuse({ ...steps({}), cache: { maxSize: "ten gigs" } }),
    /cache\.maxSize: expected an amount of data such as "10GB" or "500MB", got "ten gigs"/,
  );
  assert.match(await mustRefuse({ ...steps({}), cache: { maxAge: "soon" } }), /expected a duration/);
  assert.match(await mustRefuse({ ...steps({}), cache: { registry: "r" } }), /registry: unknown option/);
  assert.match(
    await mustRefuse(steps({ cache: "yes" }) as Record<string, unknown>),
    /provisioners\[0\]\.cache: expected a boolean/,
  );
});
