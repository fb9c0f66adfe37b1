/**
 * Who uses a stage, and which stages go. A stage carries a mark (Docker: a tag) of each build that made or used it, with
 * the id of that build's claim: it is claimed as long as the claim on the image is there. Lists in, lists out.
 */
import type { Claim } from "./claims";

/** One build's mark on a stage. */
export interface StageMark {
  key: string;
  /** Hash of the resource: the last part of its claims' owner. */
  owner: string;
  /** Of the build's claim; the later one is greater. */
  id: string;
  /** What the platform calls the saved machine. */
  stageId: string;
  /** What it takes beyond the stage or source below it. */
  ownBytes: number;
  createdMs: number;
}

export interface StageLimits {
  maxBytes: number;
  maxAgeMs: number;
}

const MARK = /^([0-9a-f]{16})-(\d+-[0-9a-f]{4})$/;

/** The part of a claim's owner that stages carry. */
export function ownerOfStages(owner: string): string {
  return owner.split("/").at(-1) ?? "";
}

/** For ever: it is part of names on users' machines. */
export function formatStageMark(owner: string, id: string): string {
  return `${owner}-${id}`;
}

export function parseStageMark(text: string): { owner: string; id: string } | undefined {
  const [, owner, id] = MARK.exec(text) ?? [];
  return owner && id ? { owner, id } : undefined;
}

/** The stage that each key means: the one marked last, so that a rebuild that was asked for supersedes what it did not use. */
export function findNewest(marks: readonly Pick<StageMark, "key" | "id" | "stageId">[]): Map<string, string> {
  const newest = new Map<string, (typeof marks)[number]>();
  for (const mark of marks) {
    const other = newest.get(mark.key);
    if (!other || sequenceOf(mark) > sequenceOf(other)) newest.set(mark.key, mark);
  }
  return new Map([...newest].map(([key, { stageId }]) => [key, stageId]));
}

/** What a destroyed resource drops. */
export function listOwn(marks: readonly StageMark[], claims: readonly Claim[], owner: string): StageMark[] {
  const live = listLiveIds(claims);
  return marks.filter((mark) => isOwn(mark, owner, live));
}

/**
 * What a resource does not miss after a build: its marks for images that are gone, on a stage that another mark holds or
 * that a newer one of the same key hides. Another's mark without an image may be that of a build which is under way.
 */
export function listObsolete(
  marks: readonly StageMark[],
  claims: readonly Claim[],
  owner: string,
): StageMark[] {
  const live = listLiveIds(claims);
  const newest = findNewest(marks);
  return [...groupByStage(marks).values()].flatMap((group) => {
    const idle = group.filter((mark) => isOwn(mark, owner, live) && !live.has(idOf(mark)));
    if (idle.length < group.length || newest.get(group[0]?.key ?? "") !== group[0]?.stageId) return idle;
    const latest = Math.max(...idle.map(sequenceOf));
    return idle.filter((mark) => sequenceOf(mark) < latest);
  });
}

/** A create that never returned had a lineage of its own: what it left, for no image, is the resource's all the same. */
function isOwn(mark: StageMark, owner: string, live: ReadonlySet<string>): boolean {
  const isSameUrn = mark.owner.slice(0, 8) === owner.slice(0, 8);
  return mark.owner === owner || (isSameUrn && !live.has(idOf(mark)));
}

/** Of the stages that no image claims, those which are over the limits: the least recently used go. */
export function listEvicted(
  marks: readonly StageMark[],
  claims: readonly Claim[],
  limits: StageLimits,
  usedMs: (key: string) => number | undefined,
  nowMs: number,
): StageMark[] {
  const live = listLiveIds(claims);
  const unclaimed = [...groupByStage(marks).values()]
    .filter((group) => !group.some((mark) => live.has(idOf(mark))))
    .map((group) => ({ group, lastMs: Math.max(...group.map((mark) => usedMs(mark.key) ?? mark.createdMs)) }))
    .sort((a, b) => b.lastMs - a.lastMs);
  let bytes = 0;
  return unclaimed.flatMap(({ group, lastMs }) => {
    bytes += group[0]?.ownBytes ?? 0;
    return bytes > limits.maxBytes || nowMs - lastMs > limits.maxAgeMs ? group : [];
  });
}

function groupByStage(marks: readonly StageMark[]): Map<string, StageMark[]> {
  const groups = new Map<string, StageMark[]>();
  for (const mark of marks) {
    const name = `${mark.key} ${mark.stageId}`;
    groups.set(name, [...(groups.get(name) ?? []), mark]);
  }
  return groups;
}

function listLiveIds(claims: readonly Claim[]): Set<string> {
  return new Set(claims.map((claim) => `${ownerOfStages(claim.owner)} ${claim.id}`));
}

function idOf(mark: StageMark): string {
  return `${mark.owner} ${mark.id}`;
}

function sequenceOf(mark: { id: string }): number {
  return Number(mark.id.split("-")[0]);
}
