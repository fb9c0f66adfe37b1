import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  findBootCommandProblems,
  parseBootCommand,
  type BootAction,
  type KeyEvent,
} from "../../src/machines/boot-command";

/** `+` is down, `-` is up. */
function show(actions: readonly BootAction[]): string {
  return actions
    .map((action) =>
      "waitMs" in action
        ? `wait ${action.waitMs}`
        : action.keys.map(({ code, down }) => `${down ? "+" : "-"}${code}`).join(" "),
    )
    .join(" | ");
}

const cases: [text: string, actions: string][] = [
  ["a", "+a -a"],
  ["A", "+shift +a -a -shift"],
  ["1!", "+1 -1 | +shift +1 -1 -shift"],
  ["0)9(", "+0 -0 | +shift +0 -0 -shift | +9 -9 | +shift +9 -9 -shift"],
  ['"', "+shift +apostrophe -apostrophe -shift"],
  ["/?", "+slash -slash | +shift +slash -slash -shift"],
  ["<enter><return>", "+ret -ret | +ret -ret"],
  ["<EnTeR>", "+ret -ret"],
  ["<bs><del>", "+backspace -backspace | +delete -delete"],
  ["<f1><f12>", "+f1 -f1 | +f12 -f12"],
  ["<pageUp><pageDown>", "+pgup -pgup | +pgdn -pgdn"],
  ["<menu>", "+compose -compose"],
  ["<leftCtrlOn>c<leftCtrlOff>", "+ctrl | +c -c | -ctrl"],
  ["<rightAlt><leftSuper>", "+alt_r -alt_r | +meta_l -meta_l"],
  ["<f2ON><f2off>", "+f2 | -f2"],
  ["<aOn><aOff>", "+a | -a"],
  ["<AOn><AOff>", "+shift +a | -a -shift"],
  ["<>on>", "+shift +dot"],
  ["<<on><<off>", "+shift +comma | -comma -shift"],
  ["<wait>", "wait 1000"],
  ["<wait5>", "wait 5000"],
  ["<wait10>x", "wait 10000 | +x -x"],
  ["<wait1m30s>", "wait 90000"],
  ["<wait1.5s>", "wait 1500"],
  ["<wait500ms>", "wait 500"],
  // What is no key's name is typed, as Packer does.
  ["<x>", "+shift +comma -comma -shift | +x -x | +shift +dot -dot -shift"],
  ["<<", "+shift +comma -comma -shift | +shift +comma -comma -shift"],
  ["<waiting", "+shift +comma -comma -shift | +w -w | +a -a | +i -i | +t -t | +i -i | +n -n | +g -g"],
];

for (const [text, actions] of cases)
  test(`${text} is ${actions}`, () => assert.equal(show(parseBootCommand([text], {})), actions));

test("values are typed as they are, and key names in them mean nothing", () => {
  const values = { HTTPIP: "10.0.2.2", HTTPPort: "80", Name: "<esc>" };
  assert.equal(typed(["{{ .HTTPIP }}:{{.HTTPPort}}/", "{{ .Name }}"], values), "10.0.2.2:80/<esc>");
});

test("texts follow each other", () => {
  assert.equal(show(parseBootCommand(["a<wait>", "b"], {})), "+a -a | wait 1000 | +b -b");
  assert.deepEqual(parseBootCommand([], {}), []);
  assert.deepEqual(parseBootCommand([""], {}), []);
});

const problems: [text: string, at: number, reason: RegExp][] = [
  ["ab\u00e9", 2, /no key of a US keyboard gives "é" \(U\+00E9\)/],
  ["a\nb", 1, /line break.*<enter>/],
  ["\t", 0, /tab.*<tab>/],
  ["x\u{1f600}y\u00e9", 1, /U\+1F600/],
  ["linux <entre>", 6, /<entre> is not a key; did you mean <enter>\?/],
  ["<leftCtlOn>c", 0, /did you mean <leftctrl>\?/],
  ["<wiat>", 0, /did you mean <wait>\?/],
  ["<wait5x>", 0, /<wait5x> is no time to wait/],
  ["<wait0>", 0, /no time to wait/],
  ["<wait-5s>", 0, /no time to wait/],
  ["a{{ .HTTPIp }}", 1, /\{\{ \.HTTPIp \}\} has no value here\. These have one: \{\{ \.HTTPIP \}\}/],
  ["<éOn>", 0, /no key of a US keyboard/],
];

for (const [text, at, reason] of problems)
  test(`${JSON.stringify(text)} has a problem at ${at}`, () => {
    const [first, ...others] = findBootCommandProblems(["ok", text]);
    assert.equal(first?.index, 1);
    assert.equal(first.at, at);
    assert.match(first.reason, reason);
    if (!text.includes("\u{1f600}")) assert.equal(others.length, 0);
    const values = { HTTPIP: "", HTTPPort: "", Name: "", SSHPublicKey: "" };
    assert.throws(
      () => parseBootCommand(["ok", text], values),
      /Boot command: text 2, character \d+ \(near /,
    );
  });

test("all problems are found, each with its place", () => {
  const found = findBootCommandProblems(["é", "a", "<wait0>ü"]);
  assert.deepEqual(
    found.map(({ index, at }) => [index, at]),
    [
      [0, 0],
      [2, 0],
      [2, 7],
    ],
  );
});

test("a value that cannot be typed is named", () => {
  assert.throws(
    () => parseBootCommand(["{{.Name}}"], { Name: "naïve" }),
    /Boot command: the value of \{\{ \.Name \}\}: no key of a US keyboard gives "ï"/,
  );
});

// What each key prints, alone and with shift: written down from a keyboard, not from the table under test.
const PRINTED = new Map<string, string>([
  ...Array.from("abcdefghijklmnopqrstuvwxyz", (letter): [string, string] => [
    letter,
    letter + letter.toUpperCase(),
  ]),
  ...["1!", "2@", "3#", "4$", "5%", "6^", "7&", "8*", "9(", "0)"].map((pair): [string, string] => [
    pair[0] ?? "",
    pair,
  ]),
  ["minus", "-_"],
  ["equal", "=+"],
  ["bracket_left", "[{"],
  ["bracket_right", "]}"],
  ["semicolon", ";:"],
  ["apostrophe", "'\""],
  ["grave_accent", "`~"],
  ["backslash", "\\|"],
  ["comma", ",<"],
  ["dot", ".>"],
  ["slash", "/?"],
  ["spc", "  "],
]);

/** What a screen would show of it; fails if a key is left down. */
function typed(texts: readonly string[], values: Record<string, string> = {}): string {
  const held = new Set<string>();
  let shown = "";
  const press = ({ code, down }: KeyEvent): void => {
    assert.equal(held.has(code), !down, `${code} is ${down ? "already" : "not"} down`);
    if (down) held.add(code);
    else held.delete(code);
    if (down && code !== "shift") shown += PRINTED.get(code)?.[held.has("shift") ? 1 : 0] ?? "�";
  };
  for (const action of parseBootCommand(texts, values)) if ("keys" in action) action.keys.forEach(press);
  assert.equal(held.size, 0, `${[...held].join()} stay down`);
  return shown;
}

test("whatever can be typed appears as it was written", () => {
  const ascii = fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
  });
  fc.assert(
    fc.property(fc.array(ascii), (texts) => {
      // As values, so that nothing in them is a key's name.
      const values = Object.fromEntries(texts.map((text, index) => [`V${index}`, text]));
      assert.equal(
        typed(
          texts.map((_, index) => `{{ .V${index} }}`),
          values,
        ),
        texts.join(""),
      );
      const plain = texts.map((text) => text.replaceAll("<", "").replaceAll("{", ""));
      assert.equal(typed(plain), plain.join(""));
    }),
  );
});

test("no text at all makes it fail in another way than by naming problems", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "binary" })), (texts) => {
      const found = findBootCommandProblems(texts, []);
      for (const { index, at } of found) assert.ok(at < (texts[index]?.length ?? 0));
      if (found.length === 0) parseBootCommand(texts, {});
      else assert.throws(() => parseBootCommand(texts, {}), /^Error: Boot command: /);
    }),
  );
});
