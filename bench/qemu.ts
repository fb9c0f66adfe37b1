/** Machines that are saved in between: what a later build saves, and whole builds beside Packer's qemu builder on the same disk. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { makeSeed, SEED_LABEL } from "../src/machines/cloud-init";
import { writeIso } from "../src/machines/iso-image";
import { createKeyPair } from "../src/machines/keypair";
import { runPrograms } from "./cache";
import { median, timeProcess, type BenchRow } from "./measure";

const ROUNDS = 2;
const MACHINE = { accelerator: "tcg", memory: "1GiB", cpus: 1 };
/** The same processor for both. */
const CPU_MODEL = "Nehalem";

export async function measureQemu(): Promise<BenchRow[]> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-bench-qemu-"));
  try {
    const bench = new QemuBench(folder);
    await bench.prepare();
    for (let round = 0; round < ROUNDS; round++) await bench.run();
    return bench.describe();
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

interface Times {
  cold: number;
  edited: number;
  boot: number;
  resume: number;
}

class QemuBench {
  private readonly long: Times[] = [];
  private readonly short: Times[] = [];
  private readonly packer: number[] = [];

  constructor(private readonly folder: string) {}

  /** A login for Packer, which puts no key of its own into a machine that cloud-init sets up. */
  async prepare(): Promise<void> {
    const { privateKey, publicKey } = await createKeyPair("bench");
    fs.writeFileSync(path.join(this.folder, "key"), privateKey, { mode: 0o600 });
    const seed = makeSeed({ instanceId: "bench", user: "debian", publicKey });
    await writeIso(path.join(this.folder, "seed.iso"), seed, { label: SEED_LABEL });
  }

  async run(): Promise<void> {
    this.short.push(await this.build(3, 2));
    this.packer.push(await this.buildWithPacker(3, 2));
    this.long.push(await this.build(10, 5));
  }

  /** Cold, and again with another last step. */
  private async build(count: number, seconds: number): Promise<Times> {
    const declare = (last: string): unknown => ({
      type: "qemu:Image",
      isoUrl: variable("KILN_QEMU_DISK"),
      isoChecksum: `sha256:${variable("KILN_QEMU_DISK_SHA256")}`,
      diskImage: true,
      sshUsername: "debian",
      cloudInit: {},
      cpuModel: CPU_MODEL,
      ...MACHINE,
      keep: 0,
      triggers: { round: id },
      provisioners: makeCommands(count, seconds, last).map((line) => ({ type: "shell", inline: [line] })),
    });
    const id = randomBytes(8).toString("hex");
    const [cold, edited] = await runPrograms(this.folder, [declare("first"), declare("second")]);
    if (!cold || !edited) throw new Error("a build is missing");
    const boot = this.readStep(cold.buildId, "boot");
    const resume = this.readStep(edited.buildId, "resume");
    return { cold: cold.milliseconds, edited: edited.milliseconds, boot, resume };
  }

  private readStep(buildId: string, title: string): number {
    const logs = path.join(this.folder, ".kiln", "state", "logs");
    const name = (fs.readdirSync(logs, { recursive: true }) as string[]).find((file) =>
      file.includes(buildId),
    );
    const text = fs.readFileSync(path.join(logs, name ?? ""), "utf8");
    const read = (pattern: string): number => Number(new RegExp(`([\\d.]+) == ${pattern}`).exec(text)?.[1]);
    return (read(`done: ${title}`) - read(`step \\d+ of \\d+: ${title}`)) * 1000;
  }

  private async buildWithPacker(count: number, seconds: number): Promise<number> {
    const template = {
      builders: [
        {
          type: "qemu",
          accelerator: "tcg",
          iso_url: variable("KILN_QEMU_DISK"),
          iso_checksum: `sha256:${variable("KILN_QEMU_DISK_SHA256")}`,
          disk_image: true,
          disk_size: "2048M",
          format: "qcow2",
          headless: true,
          memory: 1024,
          cpus: MACHINE.cpus,
          net_device: "virtio-net",
          ssh_username: "debian",
          ssh_private_key_file: "key",
          ssh_timeout: "10m",
          // There is nothing to type.
          boot_wait: "-1s",
          shutdown_command: "sudo shutdown -P now",
          output_directory: "packer-output",
          qemuargs: [
            ["-cdrom", "seed.iso"],
            ["-cpu", CPU_MODEL],
          ],
        },
      ],
      provisioners: makeCommands(count, seconds, "").map((line) => ({ type: "shell", inline: [line] })),
    };
    fs.writeFileSync(path.join(this.folder, "packer.json"), JSON.stringify(template));
    const { milliseconds } = await timeProcess(["packer", "build", "packer.json"], this.folder, {
      CHECKPOINT_DISABLE: "1",
      PACKER_CACHE_DIR: path.join(this.folder, "packer-cache"),
    });
    fs.rmSync(path.join(this.folder, "packer-output"), { recursive: true });
    return milliseconds;
  }

  describe(): BenchRow[] {
    const of = (times: readonly Times[], name: keyof Times): number => median(times.map((one) => one[name]));
    const packer = median(this.packer);
    const row = (what: string, ours: number, beside: number, goal: number): BenchRow => ({
      what,
      ours,
      beside,
      figure: ours / beside,
      goal,
    });
    return [
      row(
        "change the last of 10 steps of 5 s, beside cold",
        of(this.long, "edited"),
        of(this.long, "cold"),
        0.2,
      ),
      row(
        "a saved machine to a working SSH, beside a cold boot",
        of([...this.short, ...this.long], "resume"),
        of([...this.short, ...this.long], "boot"),
        0.12,
      ),
      row("3 steps of 2 s, cold, stages saved, beside Packer", of(this.short, "cold"), packer, 1.1),
      row("the same, the last step changed, beside Packer", of(this.short, "edited"), packer, 0.35),
    ];
  }
}

function makeCommands(count: number, seconds: number, last: string): string[] {
  return Array.from(
    { length: count },
    (_, index) => `sleep ${seconds}; echo ${index === count - 1 ? last : ""} > /tmp/step-${index}`,
  );
}

function variable(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run the benchmarks by \`npm run bench\``);
  return value;
}
