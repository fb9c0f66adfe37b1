/** The keys of a US keyboard, by QEMU's names (QKeyCode): another platform maps these to its own. */

/** A key, and whether shift is held with it. */
export interface Key {
  code: string;
  shift: boolean;
}

/** Keys that give one character alone and another with shift. */
const PAIRS: readonly (readonly [plain: string, shifted: string, code: string])[] = [
  ["-", "_", "minus"],
  ["=", "+", "equal"],
  ["[", "{", "bracket_left"],
  ["]", "}", "bracket_right"],
  [";", ":", "semicolon"],
  ["'", '"', "apostrophe"],
  ["`", "~", "grave_accent"],
  ["\\", "|", "backslash"],
  [",", "<", "comma"],
  [".", ">", "dot"],
  ["/", "?", "slash"],
  ...Array.from(")!@#$%^&*(", (shifted, digit) => [String(digit), shifted, String(digit)] as const),
  ...Array.from("abcdefghijklmnopqrstuvwxyz", (letter) => [letter, letter.toUpperCase(), letter] as const),
];

const CHARACTERS: ReadonlyMap<string, Key> = new Map([
  [" ", { code: "spc", shift: false }],
  ...PAIRS.flatMap(([plain, shifted, code]): [string, Key][] => [
    [plain, { code, shift: false }],
    [shifted, { code, shift: true }],
  ]),
]);

/** Names as they stand between `<` and `>`, in lower case. Packer's, and `leftMeta`, `leftCommand`, `leftOption` of some of its builders. */
const NAMES: ReadonlyMap<string, string> = new Map([
  ["enter", "ret"],
  ["return", "ret"],
  ["esc", "esc"],
  ["tab", "tab"],
  ["bs", "backspace"],
  ["del", "delete"],
  ["spacebar", "spc"],
  ["insert", "insert"],
  ["home", "home"],
  ["end", "end"],
  ["pageup", "pgup"],
  ["pagedown", "pgdn"],
  ["up", "up"],
  ["down", "down"],
  ["left", "left"],
  ["right", "right"],
  // QEMU's "menu" is a key of Sun's keyboards; that of a PC's is called so.
  ["menu", "compose"],
  ...Array.from({ length: 12 }, (_, index) => [`f${index + 1}`, `f${index + 1}`] as const),
  ...sides("alt", "alt", "alt_r"),
  ...sides("option", "alt", "alt_r"),
  ...sides("ctrl", "ctrl", "ctrl_r"),
  ...sides("shift", "shift", "shift_r"),
  ...sides("super", "meta_l", "meta_r"),
  ...sides("meta", "meta_l", "meta_r"),
  ...sides("command", "meta_l", "meta_r"),
]);

function sides(name: string, left: string, right: string): [string, string][] {
  return [
    [`left${name}`, left],
    [`right${name}`, right],
  ];
}

/** How a character is typed; undefined for one that this keyboard does not have. */
export function findCharacterKey(character: string): Key | undefined {
  return CHARACTERS.get(character);
}

/** The key of a name such as `enter` or `leftCtrl`, in any case. */
export function findNamedKey(name: string): string | undefined {
  return NAMES.get(name.toLowerCase());
}

/** The key name that differs from this word in one place, for words that look like a slip. */
export function findSimilarName(word: string): string | undefined {
  const lower = word.toLowerCase();
  return lower.length < 4 ? undefined : [...NAMES.keys(), "wait"].find((name) => isOneSlipAway(lower, name));
}

/** One letter more, less or other, or two that changed places. */
function isOneSlipAway(word: string, name: string): boolean {
  let start = 0;
  while (start < Math.min(word.length, name.length) && word[start] === name[start]) start++;
  const [word1, name1] = [word.slice(start), name.slice(start)];
  const isSwapped = word1[0] === name1[1] && word1[1] === name1[0] && word1.slice(2) === name1.slice(2);
  return (
    word1.slice(1) === name1 ||
    word1 === name1.slice(1) ||
    word1.slice(1) === name1.slice(1) ||
    (isSwapped && word1.length > 1)
  );
}
