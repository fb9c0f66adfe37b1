import assert from "node:assert/strict";
import { test } from "node:test";
import { listInherited, listSuperseded, listTrimmed, planDelete } from "../../src/core/retention";
import { claims, idOf, OWNER, show } from "./claim-lists";

/** What a delete does to a list of claims. `after` names what a first delete of the same run was for. */
interface Deletion {
  history: string;
  tags: string;
  id: number;
  isDeclared?: boolean;
  keep?: number;
  superseded?: number[];
  kept?: string;
  dropped: string;
}

// prettier-ignore
const DELETIONS: Deletion[] = [
  { history: "replaced: it stays for going back", tags: "A1:live B2:live", id: 1, kept: "A1:keep", dropped: "A1:live" },
  { history: "replaced, nothing is to be kept", tags: "A1:live B2:live", id: 1, keep: 0, dropped: "A1:live" },
  { history: "rebuilt: the same fingerprint is no way back", tags: "A1:live A2:live", id: 1, dropped: "A1:live" },
  { history: "A; B; back to A: the image is held by the new id", tags: "A1:live A3:live B2:live", id: 1, dropped: "A1:live" },
  { history: "kept before, adopted, replaced again: the younger mark counts", tags: "A1:keep A3:live B4:live", id: 3, kept: "A3:keep", dropped: "A1:keep A3:live" },
  { history: "A; C, whose container fails; B: the broken C does not push A out", tags: "A1:live C2:live B3:live", id: 2, superseded: [1, 2], dropped: "C2:live" },
  { history: "A; C, whose container fails; B: A is kept", tags: "A1:live C2:live B3:live", id: 1, superseded: [1, 2], kept: "A1:keep", dropped: "A1:live" },
  { history: "the same, C being deleted first", tags: "A1:live B3:live", id: 1, superseded: [1, 2], kept: "A1:keep", dropped: "A1:live" },
  { history: "moved to another engine: nothing here would be trimmed", tags: "A1:live", id: 1, dropped: "A1:live" },
  { history: "a delete that was cut after the mark", tags: "A1:live A1:keep B2:live", id: 1, kept: "A1:keep", dropped: "A1:live" },
  { history: "another resource's claim is no reason not to keep", tags: "A1:live A9:live@other B2:live", id: 1, kept: "A1:keep", dropped: "A1:live" },
  { history: "destroyed: all that this resource has, its own id last", tags: "A1:live B2:new C3:keep", id: 1, isDeclared: false, dropped: "B2:new C3:keep A1:live" },
  { history: "A, B, A; destroyed: the kept B goes", tags: "B2:keep A3:live", id: 3, isDeclared: false, dropped: "B2:keep A3:live" },
  { history: "destroyed: what is retained stays", tags: "A1:pin B2:live", id: 2, isDeclared: false, dropped: "B2:live" },
  { history: "destroyed: never another's", tags: "A1:live A2:live@other", id: 1, isDeclared: false, dropped: "A1:live" },
  { history: "the claims are gone already", tags: "", id: 1, isDeclared: false, dropped: "" },
  { history: "A; B; a delete of A left over, in a run that declares nothing: B lives", tags: "A1:live B2:live", id: 1, isDeclared: false, kept: "A1:keep", dropped: "A1:live" },
  { history: "declared, the new create was cut: it is another call's", tags: "A1:live B2:new", id: 1, dropped: "A1:live" },
  { history: "a newer create that never returned is no replacement", tags: "A1:live B2:new B2:live", id: 1, isDeclared: false, dropped: "B2:new B2:live A1:live" },
  { history: "in use before: it is another's to collect", tags: "A1:gone A1:live B2:live", id: 1, kept: "A1:keep", dropped: "A1:live" },
];

for (const { history, tags, id, isDeclared = true, keep = 1, superseded = [], kept, dropped } of DELETIONS) {
  test(`deleting: ${history}`, () => {
    const run = { isDeclared, keep, superseded: superseded.map(idOf) };
    const plan = planDelete(claims(tags), OWNER, idOf(id), run);
    assert.equal(show(plan.kept ? [plan.kept] : []), kept ?? "");
    assert.equal(show(plan.dropped), dropped);
  });
}

const TRIMMED: [history: string, tags: string, keep: number, dropped: string][] = [
  ["none too many", "A1:keep B2:live", 1, ""],
  ["the oldest goes", "A1:keep B2:keep C3:live", 1, "A1:keep"],
  ["what is in use again does not count", "A1:keep B2:keep A3:live", 1, ""],
  ["nothing is to be kept any more", "A1:keep B2:keep C3:live", 0, "B2:keep A1:keep"],
  ["another resource's are its own", "A1:keep@other B2:keep C3:live", 0, "B2:keep"],
];

for (const [history, tags, keep, dropped] of TRIMMED) {
  test(`trimming: ${history}`, () => {
    assert.equal(show(listTrimmed(claims(tags), OWNER, keep)), dropped);
  });
}

test("what was kept before Pulumi lost the resource is inherited; a namesake's with a live image is not", () => {
  const heir = `${OWNER.slice(0, -8)}00000000`;
  const lost = claims("A1:keep B2:gone");
  assert.equal(show(listInherited(lost, heir)), "A1:keep");
  assert.equal(show(listInherited(lost, OWNER)), "");
  assert.equal(show(listInherited(claims("A1:keep B2:live"), heir)), "");
  assert.equal(show(listInherited(claims("A1:keep@other"), heir)), "");
});

test("replaced and not yet deleted is all that returned, but the newest and what is retained; oldest first", () => {
  const list = claims("B4:live A1:live C2:new C2:live D3:live P5:pin K6:keep O9:live@other");
  assert.deepEqual(listSuperseded(list, OWNER), [idOf(1), idOf(3)]);
});
