import * as path from "node:path";
import type * as pulumi from "@pulumi/pulumi";
import type { Args, UnitArgs } from "../../pulumi/args";
import { Image as BaseImage } from "../../pulumi/image";
import { CREDENTIALS, OUTPUTS } from "./names";
import type { QemuImageOptions } from "./options";

/** Arguments of `kiln.qemu.Image`. */
export type QemuImageArgs = Args<Omit<QemuImageOptions, "provisioners" | "postProcessors">> & {
  /** Steps that change the machine, in order: `kiln.shell`, `kiln.file`, `kiln.shellLocal`. */
  provisioners?: pulumi.Input<pulumi.Input<UnitArgs>[]>;
  /** What is made of the finished image: a list, or a list of lists, each of which starts from the image. */
  postProcessors?: pulumi.Input<pulumi.Input<UnitArgs>[]> | pulumi.Input<pulumi.Input<UnitArgs>[][]>;
};

/** A disk image for virtual machines, built by QEMU from an installer or another disk. */
export class QemuImage extends BaseImage {
  /** The image, relative to the program's folder: `<outputDirectory>/<name>-<fingerprint>.<format>`. */
  declare readonly path: pulumi.Output<string>;
  /** The image's format, e.g. "qcow2". */
  declare readonly format: pulumi.Output<string>;
  /** Of the image's bytes, in hexadecimal. */
  declare readonly sha256: pulumi.Output<string>;
  /** Size of the file. */
  declare readonly sizeBytes: pulumi.Output<number>;
  /** The UEFI variables that go with the image, relative to the program's folder; "" without `efi`. */
  declare readonly efiVariablesPath: pulumi.Output<string>;
  /** `path` on this machine. Not in state, where it would be wrong on the next machine. */
  readonly absolutePath: pulumi.Output<string>;

  constructor(name: string, args: QemuImageArgs, options?: pulumi.CustomResourceOptions) {
    super(
      {
        module: "qemu",
        resource: "Image",
        credentials: CREDENTIALS,
        outputs: [...OUTPUTS, "format"],
      },
      name,
      args,
      options,
    );
    this.absolutePath = this.path.apply((relative) => path.resolve(relative));
  }
}
