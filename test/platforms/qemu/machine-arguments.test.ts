import assert from "node:assert/strict";
import { test } from "node:test";
import type { MachineSpec } from "../../../src/platforms/qemu/driver";
import { formatMachineArguments } from "../../../src/platforms/qemu/machine-arguments";

const spec: MachineSpec = {
  name: "kiln-b1",
  folder: "/tmp/kiln-b1-qemu",
  binary: "qemu-system-x86_64",
  accelerator: "tcg",
  machineType: "pc",
  cpuModel: "Nehalem",
  cpus: 2,
  memoryBytes: 2 ** 30,
  disk: { path: "/store/a,b/disk.qcow2", format: "qcow2" },
  additionalDisks: [],
  diskInterface: "virtio",
  netDevice: "virtio-net-pci",
  forwardedPort: 22,
  cds: ["/media/a,b.iso"],
  bootsFrom: "disk",
  isHeadless: true,
  moreArguments: [],
};

/** What follows the option, each time that it is given. */
function valuesOf(option: string, more: Partial<MachineSpec> = {}): string[] {
  const all = formatMachineArguments({ ...spec, ...more });
  return all.flatMap((text, index) => (all[index - 1] === option ? [text] : []));
}

test("a machine that goes on from its memory has the same devices", () => {
  const memoryFile = "/store/it's/memory";
  const resumed = formatMachineArguments({ ...spec, memoryFile });
  assert.deepEqual(resumed.slice(0, -2), formatMachineArguments(spec));
  assert.deepEqual(resumed.slice(-2), ["-incoming", String.raw`exec:cat '/store/it'\''s/memory'`]);
});

test("a comma in a path ends no option", () => {
  assert.match(valuesOf("-drive").join(), /file=\/media\/a,,b\.iso$/);
  const [node = ""] = valuesOf("-blockdev");
  const { file } = JSON.parse(node) as { file: { filename: string } };
  assert.equal(file.filename, spec.disk.path);
});

test("a disk is of its declared format, and only this machine is let in to its ports", () => {
  const [node = ""] = valuesOf("-blockdev", { disk: { path: "/disk", format: "raw" } });
  assert.equal((JSON.parse(node) as { driver: string }).driver, "raw");
  assert.match(valuesOf("-netdev").join(), /hostfwd=tcp:127\.0\.0\.1:0-:22$/);
});

test("firmware's code is not written to, its variables are, and they say what is booted", () => {
  const firmware = { code: "/code.fd", variables: "/run/variables.fd" };
  const [code, variables] = valuesOf("-drive", { firmware });
  assert.match(code ?? "", /unit=0,file=\/code\.fd,readonly=on$/);
  assert.match(variables ?? "", /unit=1,file=\/run\/variables\.fd$/);
  assert.deepEqual(valuesOf("-boot", { firmware }), []);
  assert.deepEqual(valuesOf("-boot", { bootsFrom: "cd" }), ["once=d"]);
});

test("further disks are on the first one's controller, in order", () => {
  const additionalDisks = [{ path: "/second", format: "qcow2" }];
  for (const diskInterface of ["virtio", "virtio-scsi", "ide", "sata"] as const) {
    const devices = valuesOf("-device", { diskInterface, additionalDisks }).join("\n");
    assert.match(devices, /drive=kiln-disk,[^]*drive=kiln-disk-1,/, diskInterface);
  }
});

test("on IDE each disk has a place of its own, behind the CDs", () => {
  const additionalDisks = ["/second", "/third"].map((path) => ({ path, format: "qcow2" }));
  const placesOf = (machineType: string): string[] =>
    valuesOf("-device", { diskInterface: "ide", additionalDisks, machineType }).flatMap(
      (text) => /^ide-hd,.*,(bus=.*)$/.exec(text)?.[1] ?? [],
    );
  assert.deepEqual(placesOf("pc"), ["bus=ide.0,unit=1", "bus=ide.1,unit=0", "bus=ide.1,unit=1"]);
  // A q35 has six buses, each for one.
  assert.deepEqual(placesOf("pc-q35-7.2"), ["bus=ide.1,unit=0", "bus=ide.2,unit=0", "bus=ide.3,unit=0"]);
});
