import assert from "node:assert/strict";
import { test } from "node:test";
import { StartLine } from "../../src/provisioners/start-line";

test("the line is taken out of the output, however that is cut", () => {
  const whole = (line: string): string => `profile says\n${line}\r\nfirst\nlast`;
  for (let size = 1; size < 60; size++) {
    let seen = "";
    const start = new StartLine((chunk) => (seen += chunk.toString()));
    const text = Buffer.from(whole(start.command.replace("echo ", "")));
    for (let at = 0; at < text.length; at += size) start.read(text.subarray(at, at + size));
    start.flush();
    assert.deepEqual([start.hasCome, seen], [true, "profile says\nfirst\nlast"]);
  }
});

test("without the line, all is output in the end", () => {
  let seen = "";
  const start = new StartLine((chunk) => (seen += chunk.toString()));
  start.read(Buffer.from("no space left"));
  start.flush();
  assert.deepEqual([start.hasCome, seen], [false, "no space left"]);
});
