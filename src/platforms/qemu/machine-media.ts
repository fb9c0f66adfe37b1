import * as fs from "node:fs";
import * as path from "node:path";
import { renderTemplate } from "../../core/template";
import { makeSeed, SEED_LABEL } from "../../machines/cloud-init";
import { writeFloppy } from "../../machines/fat-image";
import { startHttpServer } from "../../machines/http-server";
import { writeIso } from "../../machines/iso-image";
import { listFlatMediaFiles, listMediaFiles } from "../../machines/media";
import type { BuildContext } from "../../core/context";
import type { QemuImageOptions } from "./options";

/** Where QEMU's own network has this machine. */
const HOST_ADDRESS = "10.0.2.2";
const DEFAULT_PORTS = { min: 8000, max: 9000 };

/** Their names in a machine's folder. */
const SEED = "seed.iso";
const CD = "cd.iso";
const FLOPPY = "floppy.img";

/** The paths of those that a machine's folder holds. */
export function listMedia(folder: string): { cds: string[]; floppy?: string } {
  const find = (...names: string[]): string[] =>
    names.map((name) => path.join(folder, name)).filter((file) => fs.existsSync(file));
  return { cds: find(SEED, CD), floppy: find(FLOPPY)[0] };
}

/** Writes the CDs and the floppy of the options into a machine's folder. */
export async function writeMedia(
  context: BuildContext,
  options: QemuImageOptions,
  folder: string,
  publicKey: string | undefined,
): Promise<void> {
  const { cdFiles, cdContent, floppyFiles, floppyContent, cloudInit } = options;
  if (cloudInit) {
    const seed = makeSeed({
      instanceId: `kiln-${context.buildId}`,
      userData:
        cloudInit.userData &&
        fillUserData(cloudInit.userData, cloudInit.secrets ?? [], context.secrets, publicKey),
      metaData: cloudInit.metaData,
      networkConfig: cloudInit.networkConfig,
      user: options.sshUsername,
      publicKey,
    });
    await writeIso(path.join(folder, SEED), seed, { label: SEED_LABEL });
  }
  if (cdFiles || cdContent) {
    const files = await listMediaFiles(cdFiles ?? [], cdContent ?? {}, context.cwd);
    await writeIso(path.join(folder, CD), files, { label: options.cdLabel ?? "packer" });
  }
  if (floppyFiles || floppyContent) {
    const files = await listFlatMediaFiles(floppyFiles ?? [], floppyContent ?? {}, context.cwd);
    await writeFloppy(path.join(folder, FLOPPY), files, { label: options.floppyLabel ?? "packer" });
  }
  for (const name of fs.readdirSync(folder)) await fs.promises.chmod(path.join(folder, name), 0o600);
}

/** Of secrets only the names that are listed: whether one was given decides what may be saved. */
export function fillUserData(
  text: string,
  names: readonly string[],
  secrets: Readonly<Record<string, string>>,
  publicKey = "",
): string {
  const withKey = renderTemplate(text, { SSHPublicKey: publicKey });
  return withKey.replace(/\{\{\s*\.Secrets\.(\w+)\s*\}\}/g, (whole, name: string) =>
    names.includes(name) ? (secrets[name] ?? whole) : whole,
  );
}

/** What may be filled in in texts for the machine; serves the options' files until the build ends. */
export async function serveFiles(
  context: BuildContext,
  options: QemuImageOptions,
  publicKey: string | undefined,
): Promise<Record<string, string>> {
  const values = { Name: context.name, SSHPublicKey: publicKey ?? "", HTTPIP: HOST_ADDRESS, HTTPPort: "" };
  const { httpDirectory, httpContent } = options;
  if (httpDirectory === undefined && httpContent === undefined) return values;
  const content: Record<string, string> = {};
  const server = await startHttpServer({
    folder: httpDirectory === undefined ? undefined : path.resolve(context.cwd, httpDirectory),
    content,
    portMin: options.httpPortMin ?? DEFAULT_PORTS.min,
    portMax: options.httpPortMax ?? DEFAULT_PORTS.max,
    log: (line) => context.log.info(`http: ${line}`),
  });
  context.defer("closing the HTTP server", () => server.close());
  values.HTTPPort = String(server.port);
  for (const [name, text] of Object.entries(httpContent ?? {})) content[name] = renderTemplate(text, values);
  return values;
}
