import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createRedactor } from "../../src/core/redact";
import { inContext } from "../support/context";

const secret = 'p@ss/w+rd "q\'uote" ünï';
const encodings: [string, (text: string) => string][] = [
  ["raw", (text) => text],
  ["base64", (text) => Buffer.from(text).toString("base64")],
  ["base64 of a longer text", (text) => Buffer.from(`user:${text}:end`).toString("base64")],
  ["base64url", (text) => Buffer.from(text).toString("base64url")],
  ["hexadecimal", (text) => Buffer.from(text).toString("hex")],
  ["URL-encoded", encodeURIComponent],
  ["form-encoded", (text) => new URLSearchParams({ x: text }).toString()],
  ["JSON", (text) => JSON.stringify({ token: text })],
  ["JSON in JSON", (text) => JSON.stringify(JSON.stringify({ token: text }))],
  ["shell-quoted", (text) => `'${text.replaceAll("'", `'"'"'`)}'`],
];

for (const [name, encode] of encodings) {
  test(`masks a secret that is printed ${name}`, () => {
    const text = `before ${encode(secret)} after`;
    const masked = createRedactor([secret]).redact(text);
    assert.match(masked, /\[secret\]/);
    // No run of the encoded secret long enough to be of use is left.
    const encoded = encode(secret);
    for (let at = 0; at + 12 < encoded.length; at++) {
      const run = encoded.slice(at, at + 12);
      if (masked.includes(run))
        assert.ok(
          !encodings[0]?.[1](secret).includes(run) && !/[A-Za-z0-9+/]{12}/.test(run),
          `${run} is left in ${masked}`,
        );
    }
  });
}

test("masks each line of a secret of several lines", () => {
  const key = "-----BEGIN KEY-----\nabcdefghijkl\nmnopqrstuvwx\n-----END KEY-----";
  assert.equal(createRedactor([key]).redact("x mnopqrstuvwx y"), "x [secret] y");
});

test("leaves text without secrets alone, and short values out", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      assert.equal(createRedactor(["", "ab", "a"]).redact(text), text);
    }),
  );
});

test("a secret is masked however output is cut into chunks, and whatever its characters", async (t) => {
  const secrets = ["correct horse", "zażółć gęślą", 'a"b\\c$d(e)'];
  const text = secrets.map((value) => `start ${value} end`).join("\n");
  const bytes = Buffer.from(text);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 12 }), async (cuts) => {
      const points = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      const { log, updates } = await inContext(
        t,
        async (context) => {
          context.log.startCommand();
          points.slice(1).forEach((end, index) => context.log.output(bytes.subarray(points[index], end)));
          context.log.endCommand();
          assert.deepEqual(
            context.log.tail(),
            secrets.map(() => "start [secret] end"),
          );
          await Promise.resolve();
        },
        { secrets: Object.fromEntries(secrets.entries()) },
      );
      for (const value of secrets) assert.ok(!log.includes(value) && !updates.join().includes(value));
    }),
    { numRuns: 60 },
  );
});

test("a secret at the edge of a very long line is masked", async (t) => {
  const value = "a-rather-long-secret-value";
  for (const offset of [-30, -20, -5, 0]) {
    const { log } = await inContext(
      t,
      async (context) => {
        context.log.startCommand();
        const before = Buffer.alloc(64 * 1024 + offset, "x");
        for (const chunk of [before, Buffer.from(value), Buffer.alloc(70_000, "y")])
          context.log.output(chunk);
        context.log.endCommand();
        await Promise.resolve();
      },
      { secrets: { TOKEN: value } },
    );
    assert.ok(!log.includes(value) && !log.includes(value.slice(0, 12)), `offset ${offset}`);
  }
});
