import assert from "node:assert/strict";
import { test } from "node:test";
import { splitFrames, splitJsonLines } from "../../../src/platforms/docker/frames";
import { makeFrame } from "./fake-engine";

/** The bytes in two pieces for every place to cut them, and one by one. */
function* cut(bytes: Buffer): Generator<Buffer[]> {
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
  yield [...bytes].map((byte) => Buffer.from([byte]));
}

async function* stream(chunks: Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks;
}

test("frames come apart the same, wherever they are cut", async () => {
  const bytes = Buffer.concat([
    makeFrame(1, "out "),
    makeFrame(2, "err"),
    makeFrame(1, ""),
    makeFrame(1, "put ü"),
  ]);
  for (const chunks of cut(bytes)) {
    const texts: { [channel: string]: Buffer[] } = {};
    for await (const { channel, chunk } of splitFrames(stream(chunks))) (texts[channel] ??= []).push(chunk);
    const joined = Object.entries(texts).map(([channel, parts]) => [
      channel,
      Buffer.concat(parts).toString(),
    ]);
    assert.deepEqual(Object.fromEntries(joined), { stdout: "out put ü", stderr: "err" });
  }
});

test("an end inside a header or a frame is an error, as is output of another kind", async () => {
  const read = async (bytes: Buffer) => {
    for await (const frame of splitFrames(stream([bytes]))) assert.ok(frame);
  };
  const whole = makeFrame(1, "whole");
  for (let length = 1; length < whole.length; length++) {
    await assert.rejects(read(whole.subarray(0, length)), /ended in the middle of a frame/);
  }
  await read(whole);
  await assert.rejects(
    read(Buffer.from("plain text of a terminal")),
    /not multiplexed: a frame begins with 706c/,
  );
});

test("lines of JSON are whole, wherever they are cut, letters of several bytes included", async () => {
  for (const chunks of cut(Buffer.from('{"a":"ü"}\r\n\n{"a":"✓"}'))) {
    const seen: unknown[] = [];
    for await (const { a } of splitJsonLines(stream(chunks))) seen.push(a);
    assert.deepEqual(seen, ["ü", "✓"]);
  }
});

test("a line that is no JSON is quoted", async () => {
  const lines = splitJsonLines(stream([Buffer.from("<html>\n")]));
  await assert.rejects(lines.next(), /progress is not JSON: <html>/);
});
