/** What kind of machine a build has, once it is known what is installed here: a saved machine goes on only in one of the same kind. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { BuildContext } from "../../core/context";
import type { QemuDriver } from "./driver";
import type { EfiOptions, QemuImageOptions } from "./options";

/** Where distributions put UEFI, the plain one first. */
const FIRMWARE = [
  ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"],
  ["/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"],
  ["/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"],
  ["/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"],
  ["/opt/homebrew/share/qemu/edk2-x86_64-code.fd", "/opt/homebrew/share/qemu/edk2-i386-vars.fd"],
] as const;

/** Has what today's distributions ask for (x86-64-v2), and not what costs an emulator more than it gives, such as AVX. */
const EMULATED_CPU = "Nehalem";

export interface MachineKind {
  binary: string;
  version: string;
  accelerator: string;
  machineType: string;
  cpuModel: string;
  /** What a CPU model that means "this one" stands for. */
  hostCpu: string;
  firmware?: { code: string; variables: string };
}

export async function findKind(
  context: Pick<BuildContext, "cwd" | "log" | "signal">,
  driver: QemuDriver,
  options: QemuImageOptions,
): Promise<MachineKind> {
  const binary = options.qemuBinary ?? "qemu-system-x86_64";
  const version = await driver.readVersion(binary, context.signal);
  const accelerator = await chooseAccelerator(context, driver, binary, options);
  const isNative = accelerator !== "tcg";
  return {
    binary,
    version,
    accelerator,
    machineType: options.machineType ?? "pc",
    cpuModel: options.cpuModel ?? (isNative ? "host" : EMULATED_CPU),
    hostCpu: isNative ? (os.cpus()[0]?.model ?? "") : "",
    ...(options.efi ? { firmware: findFirmware(options.efi, context.cwd) } : {}),
  };
}

async function chooseAccelerator(
  { log }: Pick<BuildContext, "log">,
  driver: QemuDriver,
  binary: string,
  { accelerator: wanted = "auto", cpuModel = "host" }: QemuImageOptions,
): Promise<string> {
  if (wanted === "none") return "tcg";
  if (wanted !== "auto") return wanted;
  const native = { linux: "kvm", darwin: "hvf", win32: "whpx" }[process.platform as string];
  if (native !== undefined && (await driver.canAccelerate(binary, native, cpuModel))) return native;
  log.info(`${native ?? "no acceleration"} does not work here: machines run, slowly, by TCG`);
  return "tcg";
}

function findFirmware(efi: true | EfiOptions, cwd: string): EfiOptions {
  if (efi !== true) return { code: path.resolve(cwd, efi.code), variables: path.resolve(cwd, efi.variables) };
  for (const [code, variables] of FIRMWARE)
    if (fs.existsSync(code) && fs.existsSync(variables)) return { code, variables };
  throw new Error(
    `Looking for UEFI firmware: it is in none of ${FIRMWARE.map(([code]) => code).join(", ")}. Install it (Debian and Ubuntu: ovmf), or set \`efi: { code, variables }\``,
  );
}
