/** Histories of images on a fake engine, by the provider's own code: what Pulumi would call, and what may happen between. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { dieAt } from "../platforms/docker/faults";
import { deleteImage } from "../../src/provider/delete";
import { FakeDockerDriver } from "../platforms/docker/fake-driver";
import type { FakeWorld } from "../platforms/docker/fake-world";
import {
  create,
  deleteReplaced,
  describeWorld,
  endOwners,
  makeWorld,
  readJournal,
  startRun,
  type Made,
  type Resource,
} from "../platforms/docker/provider-run";

const never = new AbortController().signal;

/** A program that declares a version, and how its run ends. */
export interface Up {
  version: string;
  keep: number;
  diesAt?: number;
  isDone: boolean;
  dependentFails: boolean;
  /** Pulumi deletes what was replaced in no order that one could count on. */
  newestFirst: boolean;
}

/** One step of a history. Which call a death comes at may lie behind the last: then nobody dies. */
export type Action =
  | ({ kind: "up"; of: number } & Up)
  | { kind: "replace" | "destroy" | "refresh" | "remove by hand" | "use" | "stop using"; of: number };

const RESOURCES = 3;
export const PLAIN = { keep: 1, isDone: false, dependentFails: false, newestFirst: false };

const of = fc.nat({ max: RESOURCES - 1 });
export const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("up" as const),
      of,
      version: fc.constantFrom("a", "b", "c"),
      keep: fc.constantFrom(1, 1, 0, 2),
      diesAt: fc.option(fc.integer({ min: 1, max: 32 }), { nil: undefined }),
      isDone: fc.boolean(),
      dependentFails: fc.boolean(),
      newestFirst: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("replace", "destroy", "refresh", "remove by hand", "use", "stop using"),
      of,
    }),
  },
);

/** Pulumi's side of it: what is in state, and the containers that its program runs from the images. */
export class Deployment {
  current: Made | undefined;
  version = "";
  /** Replaced, but not deleted yet: a dependent failed, or the process died. */
  pending: Made[] = [];
  /** Of what is in state. */
  private lineage = "";
  private minted = 0;

  constructor(
    private readonly world: FakeWorld,
    private readonly stack: string,
    private readonly name: string,
  ) {}

  get resource(): Resource {
    return { stack: this.stack, name: this.name, lineage: this.lineage };
  }

  get inState(): Made[] {
    return [...(this.current ? [this.current] : []), ...this.pending];
  }

  async up(step: Up, isReplacement = false): Promise<void> {
    endOwners();
    const death = dieAt(new FakeDockerDriver(this.world), step.diesAt ?? Infinity, step.isDone);
    const run = this.deploy(death.driver, step, isReplacement);
    await Promise.race([run.catch(() => undefined), death.happened]);
    death.release();
    // What was under way when the process died has told nobody.
    await run.catch(() => undefined);
  }

  private async deploy(
    driver: FakeDockerDriver | ReturnType<typeof dieAt>["driver"],
    { version, keep, dependentFails, newestFirst }: Up,
    isReplacement: boolean,
  ): Promise<void> {
    // `--replace` and a taint call `check` without what was known.
    const lineage = !this.current || isReplacement ? String(++this.minted) : this.lineage;
    const resource = { ...this.resource, lineage };
    const moved = !this.current || this.version !== version;
    if (moved || isReplacement) {
      const made = await create(driver, resource, version, moved, keep);
      if (!made) return;
      if (this.current) this.pending.push(this.current);
      this.current = made;
      this.lineage = lineage;
      this.version = version;
      if (dependentFails) return;
      await this.runContainer();
    } else startRun(driver, resource, { version, moved, keep });
    for (const made of newestFirst ? this.pending.toReversed() : [...this.pending]) {
      await deleteReplaced(made);
      this.pending = this.pending.filter((other) => other !== made);
    }
  }

  /** The program's own container moves to the new image. */
  private async runContainer(): Promise<void> {
    const driver = new FakeDockerDriver(this.world);
    const name = `web-${this.stack}-${this.name}`;
    await driver.removeContainer(name, never);
    await start(driver, name, this.current?.outs.artifactId ?? "");
  }

  async destroy(): Promise<void> {
    endOwners();
    const driver = new FakeDockerDriver(this.world);
    await driver.removeContainer(`web-${this.stack}-${this.name}`, never);
    // Pulumi deletes all that it has of a resource at once.
    startRun(driver, this.resource);
    await Promise.all(this.inState.map((made) => deleteImage(made.id, made.outs)));
    this.current = undefined;
    this.pending = [];
  }

  /** An image that is gone is dropped from state, and `delete` is never called for it. */
  refresh(): void {
    const isThere = (made: Made): boolean => this.world.images.has(made.outs.artifactId);
    this.pending = this.pending.filter(isThere);
    if (this.current && !isThere(this.current)) this.current = undefined;
  }
}

async function start(driver: FakeDockerDriver, name: string, image: string): Promise<void> {
  const options = { name, image, entrypoint: ["/bin/sh"], command: [], hostConfig: {} };
  await driver.startContainer(await driver.createContainer(options, never), never);
}

/** With force: whatever names it has, and whoever uses it. */
function removeByHand(world: FakeWorld, id: string): void {
  for (const container of [...world.containers.values()])
    if (container.image === id) world.containers.delete(container.id);
  world.images.delete(id);
}

async function act(world: FakeWorld, deployments: Deployment[], step: Action): Promise<void> {
  const deployment = deployments[step.of] as Deployment;
  const image = deployment.current?.outs.artifactId ?? "";
  const driver = new FakeDockerDriver(world);
  const user = `foreign-${step.of}`;
  if (step.kind === "up") await deployment.up(step);
  else if (step.kind === "destroy") await deployment.destroy();
  else if (step.kind === "replace" && deployment.current)
    await deployment.up({ ...PLAIN, version: deployment.version }, true);
  else if (step.kind === "refresh") for (const each of deployments) each.refresh();
  else if (step.kind === "stop using") await driver.removeContainer(user, never);
  else if (step.kind === "use" && world.images.has(image) && !world.lookUpContainer(user))
    await start(driver, user, image);
  else if (step.kind === "remove by hand" && image !== "") {
    removeByHand(world, image);
    for (const each of deployments) each.refresh();
  }
}

/** What is in state, and not about to be deleted, is there; so is what runs. */
function assertNothingLost(world: FakeWorld, deployments: Deployment[], where: string): void {
  for (const { current, resource } of deployments)
    assert.ok(
      !current || world.images.has(current.outs.artifactId),
      `${where}: the image of ${resource.stack}/${resource.name} is lost`,
    );
  for (const { name, image } of world.containers.values())
    assert.ok(world.images.has(image), `${where}: the image of container ${name} is lost`);
}

export async function live(history: readonly Action[]): Promise<void> {
  const world = makeWorld();
  const before = describeWorld(world);
  const deployments = [
    new Deployment(world, "one", "app"),
    new Deployment(world, "one", "twin"),
    new Deployment(world, "two", "app"),
  ];
  for (const [index, step] of history.entries()) {
    await act(world, deployments, step);
    assertNothingLost(world, deployments, `step ${index}`);
  }
  for (const of of deployments.keys()) await act(world, deployments, { kind: "stop using", of });
  // Everybody once more, to the end: what a dead process left is found by its own resource.
  const used = deployments.filter((_, index) =>
    history.some((step) => step.of === index && step.kind === "up"),
  );
  for (const deployment of used) {
    await deployment.up({ ...PLAIN, version: "z" });
    assertNothingLost(world, deployments, "the last up");
  }
  for (const deployment of used) await deployment.destroy();
  assert.deepEqual(describeWorld(world), before);
  assert.deepEqual(readJournal(), []);
}
