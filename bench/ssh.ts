/** Uploading over SSH beside Packer, rsync and scp, to the same OpenSSH on loopback; folders in memory where there is such a place. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { setTimeout } from "node:timers/promises";
import { hashSources } from "../src/core/source-tree";
import { startRelay } from "../test/support/relay";
import { startSshd, type Sshd } from "../test/support/sshd";
import { interleave, timeProcess, type BenchRow } from "./measure";

const GIGABYTE = 1024 ** 3;
const ONE_WAY_MS = 20;
/** Hashes of files that changed in the last seconds are not kept. */
const SETTLING_MS = 4000;

export async function measureSsh(): Promise<BenchRow[]> {
  const sshd = await startSshd();
  const memory = fs.existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir();
  const folder = fs.mkdtempSync(path.join(memory, "kiln-bench-ssh-"));
  try {
    makeSources(folder);
    await hashAsPreviewsDo(folder);
    const bench = new SshBench(sshd, folder);
    return [
      ...(await bench.measureMany()),
      ...(await bench.measureLarge()),
      ...(await bench.measureChanged()),
      ...(await bench.measureFarAway()),
      ...(await bench.measureMemory()),
    ];
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
    await sshd.stop();
  }
}

class SshBench {
  constructor(
    private readonly sshd: Sshd,
    private readonly folder: string,
  ) {}

  async measureMany(): Promise<BenchRow[]> {
    const source = `${this.folder}/many/`;
    const times = await interleave({
      ours: () => this.afresh(() => this.upload(source, `${this.there}/`)),
      known: () => this.afresh(() => this.upload(source, `${this.there}/`, KNOWN)),
      packer: () => this.afresh(() => this.packer(source, this.there)),
      rsync: () => this.afresh(() => this.rsync(source)),
    });
    return [
      compare("ssh: 5,000 files of 2 KB, beside Packer's `file`", times.ours, times.packer, 1 / 3.5),
      compare("the same, beside `rsync -a`", times.ours, times.rsync, 1 / 1.2),
      compare("the same, hashes known from the preview, beside Packer", times.known, times.packer, 1 / 3.5),
    ];
  }

  async measureLarge(): Promise<BenchRow[]> {
    const source = `${this.folder}/large.bin`;
    const target = `${this.there}/large.bin`;
    const times = await interleave({
      ours: () => this.afresh(() => this.upload(source, target)),
      known: () => this.afresh(() => this.upload(source, target, KNOWN)),
      packer: () => this.afresh(() => this.packer(source, target)),
      scp: () => this.afresh(() => this.scp(source, target)),
    });
    return [
      compare("ssh: one file of 300 MB, beside Packer's `file`", times.ours, times.packer, 1 / 3),
      compare("the same, beside scp", times.ours, times.scp, 1.5),
      compare("the same, its hash known from the preview, beside Packer", times.known, times.packer, 1 / 3),
    ];
  }

  async measureChanged(): Promise<BenchRow[]> {
    const source = `${this.folder}/many/`;
    await this.afresh(() => this.upload(source, `${this.there}/`));
    const uploadChanged = (conditions?: Conditions): Promise<number> => {
      fs.writeFileSync(`${this.folder}/many/7/7.bin`, randomBytes(2048));
      return this.upload(source, `${this.there}/`, conditions);
    };
    const times = await interleave({
      ours: () => uploadChanged(),
      known: () => uploadChanged(KNOWN),
      packer: () => this.packer(source, this.there),
    });
    return [
      compare(
        "ssh: the same folder again, one file changed, beside Packer (whole folder)",
        times.ours,
        times.packer,
        0.3,
      ),
      compare("the same, the other hashes known from the preview", times.known, times.packer, 0.3),
    ];
  }

  async measureFarAway(): Promise<BenchRow[]> {
    const source = `${this.folder}/many/`;
    const relay = await startRelay(this.sshd.port, { delayMs: ONE_WAY_MS });
    try {
      const times = await interleave({
        ours: () => this.afresh(() => this.upload(source, `${this.there}/`, { port: relay.port })),
        rsync: () => this.afresh(() => this.rsync(source, relay.port)),
      });
      return [compare("ssh: 5,000 files, 40 ms round trip, beside `rsync -a`", times.ours, times.rsync, 1)];
    } finally {
      relay.stop();
    }
  }

  /** On the disk: so much need not fit into memory. */
  async measureMemory(): Promise<BenchRow[]> {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-bench-ssh-"));
    try {
      const source = path.join(folder, "sparse");
      fs.writeFileSync(source, "");
      fs.truncateSync(source, 5 * GIGABYTE);
      const { peakMegabytes } = await this.run(source, path.join(folder, "there"));
      return [compare("ssh: peak memory while 5 GB are sent, MB beside 200", peakMegabytes, 200, 1)];
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  }

  private get there(): string {
    return `${this.folder}/there`;
  }

  /** An empty destination; Packer wants it to be there. */
  private async afresh(work: () => Promise<number>): Promise<number> {
    fs.rmSync(this.there, { recursive: true, force: true });
    fs.mkdirSync(this.there);
    return work();
  }

  private async upload(source: string, destination: string, conditions?: Conditions): Promise<number> {
    return (await this.run(source, destination, conditions)).milliseconds;
  }

  private async run(
    source: string,
    destination: string,
    { port = this.sshd.port, hashes = "unknown" }: Conditions = {},
  ): Promise<{ milliseconds: number; peakMegabytes: number }> {
    const { username, keyFile } = this.sshd;
    const request = JSON.stringify({ port, username, keyFile, source, destination });
    const script = path.join(__dirname, "ssh-upload.js");
    const environment = { PULUMI_KILN_HOME: homeWith(hashes, this.folder) };
    const { output } = await timeProcess([process.execPath, script, request], this.folder, environment);
    return JSON.parse(output) as { milliseconds: number; peakMegabytes: number };
  }

  private async packer(source: string, destination: string): Promise<number> {
    const { port, username, keyFile } = this.sshd;
    const template = {
      builders: [
        {
          type: "null",
          ssh_host: "127.0.0.1",
          ssh_port: port,
          ssh_username: username,
          ssh_private_key_file: keyFile,
        },
      ],
      provisioners: [{ type: "file", source, destination }],
    };
    fs.writeFileSync(path.join(this.folder, "packer.json"), JSON.stringify(template));
    const environment = { PACKER_NO_COLOR: "1", CHECKPOINT_DISABLE: "1" };
    const { milliseconds } = await timeProcess(
      ["packer", "build", "-color=false", "packer.json"],
      this.folder,
      environment,
    );
    return milliseconds;
  }

  private async rsync(source: string, port = this.sshd.port): Promise<number> {
    const shell = `ssh -p ${port} -i ${this.sshd.keyFile} ${SSH_OPTIONS.join(" ")}`;
    const target = `${this.sshd.username}@127.0.0.1:${this.there}/`;
    return (await timeProcess(["rsync", "-a", "-e", shell, source, target], this.folder)).milliseconds;
  }

  private async scp(source: string, destination: string): Promise<number> {
    const { port, keyFile, username } = this.sshd;
    const target = `${username}@127.0.0.1:${destination}`;
    const argv = ["scp", "-q", "-P", String(port), "-i", keyFile, ...SSH_OPTIONS, source, target] as const;
    return (await timeProcess([...argv], this.folder)).milliseconds;
  }
}

const SSH_OPTIONS = [
  "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR", "-oIdentitiesOnly=yes", "-oBatchMode=yes",
]; // prettier-ignore

interface Conditions {
  port?: number;
  /** Default: unknown. */
  hashes?: Hashes;
}

type Hashes = "known" | "unknown";

/** What an upload of a build finds: the fingerprint has hashed the sources before, but for what changed since. */
const KNOWN: Conditions = { hashes: "known" };

async function hashAsPreviewsDo(folder: string): Promise<void> {
  await setTimeout(SETTLING_MS);
  const cacheDir = path.join(homeWith("known", folder), "cache");
  await hashSources([{ path: `${folder}/many/` }, { path: `${folder}/large.bin` }], {
    cwd: folder,
    cacheDir,
  });
}

/** The folder of caches that an upload is given. */
function homeWith(hashes: Hashes, folder: string): string {
  return path.join(folder, "home", hashes);
}

function compare(what: string, ours: number, beside: number, goal: number): BenchRow {
  return { what, ours, beside, figure: ours / beside, goal };
}

function makeSources(folder: string): void {
  for (let index = 0; index < 5000; index++) {
    const sub = `${folder}/many/${index % 50}`;
    fs.mkdirSync(sub, { recursive: true });
    fs.writeFileSync(`${sub}/${index}.bin`, randomBytes(2048));
  }
  const large = fs.openSync(`${folder}/large.bin`, "w");
  for (let megabyte = 0; megabyte < 300; megabyte++) fs.writeSync(large, randomBytes(1024 * 1024));
  fs.closeSync(large);
}
