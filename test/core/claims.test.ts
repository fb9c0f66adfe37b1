import assert from "node:assert/strict";
import { test } from "node:test";
import {
  createClaimId,
  findAdoptable,
  formatClaimTag,
  formatOwner,
  isConfirmed,
  listCollectable,
  listUnreturned,
  parseClaim,
} from "../../src/core/claims";
import { claims, fingerprintOf, idOf, OWNER, show } from "./claim-lists";

const DAY_MS = 24 * 3_600_000;

const ADOPTIONS: [history: string, tags: string, wanted: string, moved: boolean, found: string][] = [
  ["nothing was ever built", "", "A", true, ""],
  ["another version only", "A1:live", "B", true, ""],
  ["up A, cut after the claim; up A: not built twice", "A1:new", "A", false, "A"],
  ["up A, cut between its last two calls; up A", "A1:new A1:live", "A", false, "A"],
  ["A; B, cut after the claim; --replace A: built anew", "A1:live B2:new", "A", false, ""],
  ["A; --replace A, or a taint: built anew", "A1:live", "A", false, ""],
  ["retained, and replaced by hand: built anew", "A1:pin", "A", false, ""],
  ["A; B; revert to A while A still lives", "A1:live B2:live", "A", true, "A"],
  ["A goes, something uses it; revert: taken up again", "A1:gone B2:live", "A", true, "A"],
  ["another stack has built it", "A1:live@other", "A", true, "A"],
  [
    "another resource of the same fingerprint; --replace: built anew",
    "A1:live A2:live@other",
    "A",
    false,
    "",
  ],
  ["state was lost: the other's image is no reason to rebuild", "A2:live@other", "A", false, "A"],
];

for (const [history, tags, wanted, moved, found] of ADOPTIONS) {
  test(`adopting: ${history}`, () => {
    assert.equal(findAdoptable(claims(tags), OWNER, fingerprintOf(wanted), moved).join(" "), found);
  });
}

test("adopting prefers own images, and of those the newest", () => {
  const list = claims("A1:live A3:live@other A2:live A9:live@other").map((claim, index) => ({
    ...claim,
    artifactId: String(index),
  }));
  assert.deepEqual(findAdoptable(list, OWNER, fingerprintOf("A"), true), ["2", "0", "3", "1"]);
});

const UNRETURNED: [history: string, tags: string, dropped: string, inState?: number][] = [
  ["nothing before", "C9:new C9:live", ""],
  ["a create that was cut", "A1:new C9:new", "A1:new"],
  [
    "one that was cut between its last two calls: `new` goes last, or it looks returned",
    "A1:new A1:live C9:new",
    "A1:live A1:new",
  ],
  ["one that was to be retained", "A1:new A1:pin C9:new", "A1:pin A1:new"],
  ["one that is in state", "A1:live C9:new", "", 1],
  ["one before that, which is replaced but not deleted yet", "A1:live B2:live C9:new", "", 2],
  ["one after that, which died before it could answer", "A1:live B2:live C9:live C9:new", "B2:live", 1],
  ["one after that, which is both live and to be retained", "A1:live B2:live B2:pin C9:new", "B2:live", 1],
  ["one after that, which is to be retained", "A1:live B2:pin C9:new", "", 1],
  ["one that is in a state which nobody told of", "A1:live C9:new", ""],
  ["another resource's", "A1:new@other C9:new", ""],
];

for (const [history, tags, dropped, inState] of UNRETURNED) {
  test(`after a create: ${history}`, () => {
    assert.equal(
      show(listUnreturned(claims(tags), OWNER, idOf(9), inState === undefined ? undefined : idOf(inState))),
      dropped,
    );
  });
}

test("anybody collects what is unwanted, and what nobody came back for in a day", () => {
  const old = claims("A1:gone B1:new@other C1:live D1:pin").concat(claims(`E${DAY_MS}:new`));
  assert.equal(show(listCollectable(old, DAY_MS + 2)), "A1:gone B1:new@other");
});

test("an id is confirmed by `live` or `pin` without `new`", () => {
  const list = claims("A1:new B2:live C3:pin D4:new D4:live E5:gone F6:live@other");
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6].filter((sequence) => isConfirmed(list, OWNER, idOf(sequence))),
    [2, 3],
  );
});

test("ids rise, even if the clock goes back", () => {
  const first = createClaimId([], OWNER, 1000);
  assert.match(first, /^1000-[0-9a-f]{4}$/);
  assert.match(createClaimId(claims("A5000:gone A9000:live@other"), OWNER, 1000), /^5001-/);
});

test("a claim's tag is read back, fits into a tag, and nothing else is one", () => {
  const [claim] = claims("A1795421455432:pin");
  assert.ok(claim);
  const tag = formatClaimTag(claim);
  assert.ok(tag.length <= 128, String(tag.length));
  assert.match(tag, /^[\w][\w.-]*$/);
  assert.deepEqual(parseClaim(OWNER, tag, "A"), claim);
  for (const text of ["latest", tag.replace("pin", "live2"), tag.replace("k1", "x1"), tag.slice(1)])
    assert.equal(parseClaim(OWNER, text, "A"), undefined, text);
});

test("an owner tells apart stacks, resources and lineages, and is a valid repository whatever they are called", () => {
  const owners = [
    formatOwner("My.Project_1", "Dev", "urn:a", "1"),
    formatOwner("My.Project_1", "Dev", "urn:a", "2"),
    formatOwner("My.Project_1", "Dev", "urn:b", "1"),
    formatOwner("--", "…", "urn:a", "1"),
    formatOwner("p".repeat(200), "organization/team/stack", "urn:a", "1"),
  ];
  assert.equal(new Set(owners).size, owners.length);
  for (const owner of owners) assert.match(owner, /^([a-z0-9]+(-[a-z0-9]+)*\/){2}[0-9a-f]{16}$/);
});
