import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

/** A device for acceleration may be there and never answer, or interpret what it should let run. */
const PROBE_MS = 3000;
/** Where the program prints. */
const DEBUG_PORT = 0x402;
const WORD = "K";

/** Whether a machine with this acceleration can run, and as fast as one can boot with. */
export function probeAccelerator(binary: string, accelerator: string, cpuModel: string): Promise<boolean> {
  if (accelerator === "kvm" && !canOpen("/dev/kvm")) return Promise.resolve(false);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-probe-"));
  const firmware = path.join(folder, "firmware");
  fs.writeFileSync(firmware, makeFirmware());
  const machine = ["-machine", `pc,accel=${accelerator}`, "-cpu", cpuModel, "-m", "64M", "-nodefaults"];
  const output = ["-chardev", "stdio,id=out", "-device", `isa-debugcon,iobase=${DEBUG_PORT},chardev=out`];
  return new Promise((resolve) => {
    const child = spawn(binary, [...machine, "-bios", firmware, "-display", "none", ...output], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    const answer = (works: boolean): void => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      // One that hangs in the kernel cannot be waited for.
      child.unref();
      child.stdout.destroy();
      fs.rmSync(folder, { recursive: true, force: true });
      resolve(works);
    };
    const timer = setTimeout(() => answer(false), PROBE_MS);
    child.stdout.on("data", (text: Buffer) => answer(text.toString() === WORD));
    child.on("error", () => answer(false));
    child.on("exit", () => answer(false));
  });
}

/**
 * What an x86 processor runs first: it goes to protected mode, as boot loaders do, counts to fifty millions, and prints a
 * letter. A processor does that in 30 ms; where every instruction is interpreted by the kernel, a boot loader would never
 * come to its end, and this does not either.
 */
function makeFirmware(): Buffer {
  const firmware = Buffer.alloc(64 * 1024); // ends at the end of the first megabyte, so it begins at 0xf0000
  const put = (at: number, code: string): number =>
    Buffer.from(code.replaceAll(" ", ""), "hex").copy(firmware, at);
  put(0xfff0, "ea 0000 00f0"); //         jmp  f000:0000       where the processor begins
  put(0x0000, "fa"); //                   cli
  put(0x0001, "2e 66 0f0116 5000"); //    lgdt cs:[0050]
  put(0x0008, "0f20c0 0c01 0f22c0"); //   mov  eax, cr0; or al, 1; mov cr0, eax
  put(0x0010, "66 ea 20000f00 0800"); //  jmp  0008:000f0020   32 bits from here on
  put(0x0020, "b9 80f0fa02"); //          mov  ecx, 50000000
  put(0x0025, "49 75fd"); //              dec  ecx; jnz 0025
  put(0x0028, "66ba 0204 b04b ee"); //    mov  dx, 402; mov al, 'K'; out dx, al
  put(0x002f, "f4 ebfd"); //              hlt; jmp 002f
  put(0x0048, "ffff 0000 00 9a cf 00"); // a segment of code: all four gigabytes
  put(0x0050, "0f00 40000f00"); //        the table of segments: 16 bytes at 000f0040
  return firmware;
}

function canOpen(device: string): boolean {
  try {
    fs.accessSync(device, fs.constants.R_OK | fs.constants.W_OK);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "EACCES" || code === "EPERM") return false;
    throw error;
  }
}
