/**
 * Who needs which image files of this machine: a file for each claim, `claims/<project>/<stack>/<hash>/<claim>.json`, in the
 * user's state folder. The form is for ever.
 */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { formatClaimTag, parseClaim, type Claim } from "../../core/claims";
import { stateFolder } from "../../core/folders";
import { withLock } from "../../core/lock";
import { writeWholeFile } from "../../core/whole-file";
import { listFolder } from "./list-folder";

/** What a claim holds. */
export interface Holding {
  artifactId: string;
  /** Absolute: the image, and what belongs to it. */
  files: string[];
  /** What the image stands on. */
  standsOn?: string;
  /** It was there before: it is never removed. */
  isAdopted?: boolean;
}

export interface HeldClaim extends Claim, Holding {}

const SUFFIX = ".json";

export class Ledger {
  private readonly folder = path.join(stateFolder(), "qemu");

  /** Names this machine's images, as long as their claims are here. */
  readId(signal: AbortSignal): Promise<string> {
    return this.alone(signal, () => {
      const file = path.join(this.folder, "id");
      if (!fs.existsSync(file)) writeWholeFile(file, randomBytes(16).toString("hex"), { flush: true });
      return fs.readFileSync(file, "utf8");
    });
  }

  /** One process at a time decides what goes. */
  async alone<T>(signal: AbortSignal, work: () => Promise<T> | T): Promise<T> {
    return withLock(path.join(this.folder, "lock"), signal, work);
  }

  list(): HeldClaim[] {
    const root = path.join(this.folder, "claims");
    const descend = (names: string[]): string[] =>
      names.flatMap((name) => listFolder(path.join(root, name)).map((inner) => path.join(name, inner)));
    const names = descend(descend(descend(["."])));
    return descend(names)
      .filter((name) => name.endsWith(SUFFIX))
      .flatMap((name) => this.read(name) ?? []);
  }

  private read(name: string): HeldClaim | undefined {
    const owner = path.dirname(name).split(path.sep).join("/");
    try {
      const text = fs.readFileSync(path.join(this.folder, "claims", name), "utf8");
      const holding = JSON.parse(text) as Holding;
      const claim = parseClaim(owner, path.basename(name, SUFFIX), holding.artifactId);
      return claim && { ...holding, ...claim };
    } catch (error) {
      // Taken back by another process meanwhile.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }

  put(claim: Claim, { artifactId, files, standsOn, isAdopted }: Holding): void {
    const text = JSON.stringify({ artifactId, files, standsOn, isAdopted });
    writeWholeFile(this.fileOf(claim), text, { flush: true });
  }

  remove(claim: Claim): void {
    const file = this.fileOf(claim);
    fs.rmSync(file, { force: true });
    // Folders that became empty; the first that is not ends it.
    for (let folder = path.dirname(file); isEmpty(folder); folder = path.dirname(folder))
      fs.rmdirSync(folder);
  }

  private fileOf(claim: Claim): string {
    return path.join(this.folder, "claims", ...claim.owner.split("/"), formatClaimTag(claim) + SUFFIX);
  }
}

function isEmpty(folder: string): boolean {
  return path.basename(folder) !== "qemu" && fs.existsSync(folder) && fs.readdirSync(folder).length === 0;
}

export function isSameClaim(one: Claim, other: Claim): boolean {
  return one.owner === other.owner && one.id === other.id && one.state === other.state;
}
