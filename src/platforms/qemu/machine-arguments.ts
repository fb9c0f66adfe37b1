import * as path from "node:path";
import type { Disk, MachineSpec } from "./driver";

/** Node of the first disk; each save puts another one on top. */
export const DISK_NODE = "kiln-disk";

export function socketPath(folder: string): string {
  return path.join(folder, "qmp.sock");
}

export function serialPath(folder: string): string {
  return path.join(folder, "serial.log");
}

/** The command line of a machine. What differs between a machine and one that goes on from its memory is only where things are, not what they are. */
export function formatMachineArguments(spec: MachineSpec): string[] {
  return [
    ["-name", spec.name],
    ["-nodefaults"],
    ["-machine", `${spec.machineType},accel=${spec.accelerator}`],
    ["-cpu", spec.cpuModel],
    ["-smp", String(spec.cpus)],
    ["-m", `${Math.ceil(spec.memoryBytes / 2 ** 20)}M`],
    ["-rtc", "base=utc,clock=host"],
    ["-vga", "std"],
    ["-display", spec.isHeadless ? "none" : "gtk"],
    ["-serial", `file:${escapeCommas(serialPath(spec.folder))}`],
    ["-qmp", `unix:${escapeCommas(socketPath(spec.folder))},server=on,wait=off`],
    ...formatFirmware(spec),
    ...formatDisks(spec),
    ...formatMedia(spec),
    [
      "-netdev",
      `user,id=net0,hostfwd=tcp:127.0.0.1:0-:${spec.forwardedPort}`,
      "-device",
      `${spec.netDevice},netdev=net0,romfile=`,
    ],
    ...spec.moreArguments,
    ...(spec.memoryFile === undefined ? [] : [["-incoming", `exec:cat ${quote(spec.memoryFile)}`]]),
  ].flat();
}

function formatFirmware({ firmware, bootsFrom }: MachineSpec): string[][] {
  // UEFI has an order of its own, and goes on to the next where one has nothing to boot.
  if (!firmware) return [["-boot", bootsFrom === "cd" ? "once=d" : "c"]];
  const drive = (unit: number, file: string, more: string): string[] => [
    "-drive",
    `if=pflash,format=raw,unit=${unit},file=${escapeCommas(file)}${more}`,
  ];
  return [drive(0, firmware.code, ",readonly=on"), drive(1, firmware.variables, "")];
}

function formatDisks(spec: MachineSpec): string[][] {
  const { disk, additionalDisks, diskInterface } = spec;
  const disks = [disk, ...additionalDisks];
  const controllers: Record<string, string[][]> = {
    "virtio-scsi": [["-device", "virtio-scsi-pci,id=scsi0"]],
    sata: [["-device", "ich9-ahci,id=ahci0"]],
  };
  const devices = { virtio: "virtio-blk-pci", "virtio-scsi": "scsi-hd", ide: "ide-hd", sata: "ide-hd" };
  return [
    ...(controllers[diskInterface] ?? []),
    ...disks.flatMap((one, index) => {
      const node = index === 0 ? DISK_NODE : `${DISK_NODE}-${index}`;
      return [
        ["-blockdev", JSON.stringify(describeNode(node, one))],
        ["-device", `${devices[diskInterface]},drive=${node},id=${node}-device${formatPlace(spec, index)}`],
      ];
    }),
  ];
}

/** Left to itself QEMU puts all disks on the last IDE bus, where there is place for two, or for one. */
function formatPlace({ diskInterface, machineType, cds }: MachineSpec, index: number): string {
  if (diskInterface === "sata") return `,bus=ahci0.${index}`;
  if (diskInterface !== "ide") return "";
  const perBus = machineType.includes("q35") ? 1 : 2;
  const place = cds.length + index;
  return `,bus=ide.${Math.floor(place / perBus)},unit=${place % perBus}`;
}

/** No flush: what a crash of this machine leaves half-written is never used. */
function describeNode(node: string, { path: filename, format }: Disk): object {
  const shared = { discard: "unmap", cache: { "no-flush": true } };
  return {
    "node-name": node,
    driver: format,
    ...shared,
    file: { driver: "file", filename, ...shared },
  };
}

function formatMedia({ cds, floppy }: MachineSpec): string[][] {
  const drives = cds.map((file, index) => [
    "-drive",
    `media=cdrom,if=ide,index=${index},format=raw,readonly=on,file=${escapeCommas(file)}`,
  ]);
  return floppy === undefined
    ? drives
    : [...drives, ["-drive", `if=floppy,index=0,format=raw,readonly=on,file=${escapeCommas(floppy)}`]];
}

function escapeCommas(text: string): string {
  return text.replaceAll(",", ",,");
}

/** For the shell that QEMU starts. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
