import type * as pulumi from "@pulumi/pulumi";
import type { Args, UnitArgs } from "../../pulumi/args";
import { Image as BaseImage } from "../../pulumi/image";
import { CREDENTIALS, OUTPUTS } from "./names";
import type { DockerImageOptions } from "./options";

/** Arguments of `kiln.docker.Image`. */
export type DockerImageArgs = Args<Omit<DockerImageOptions, "provisioners" | "postProcessors">> & {
  /** Steps that change the machine, in order: `kiln.shell`, `kiln.file`, `kiln.shellLocal`. */
  provisioners?: pulumi.Input<pulumi.Input<UnitArgs>[]>;
  /** What is made of the finished image: a list, or a list of lists, each of which starts from the image. */
  postProcessors?: pulumi.Input<pulumi.Input<UnitArgs>[]> | pulumi.Input<pulumi.Input<UnitArgs>[][]>;
};

/** A Docker image, built by provisioners from another one. */
export class DockerImage extends BaseImage {
  /** `sha256:…`; "" with `exportPath` or `discard`. */
  declare readonly imageId: pulumi.Output<string>;
  /** The first name that `kiln.docker.tag` gave, else "". */
  declare readonly reference: pulumi.Output<string>;
  /** All names that `kiln.docker.tag` gave. */
  declare readonly references: pulumi.Output<string[]>;
  /** Digest of the pushed image, `sha256:…`; "" before a push. */
  declare readonly digest: pulumi.Output<string>;
  /** `repository@sha256:…` of the pushed image; "" before a push. */
  declare readonly pinnedReference: pulumi.Output<string>;
  /** The image that it was built from. */
  declare readonly sourceImageId: pulumi.Output<string>;
  /** Size of all layers. */
  declare readonly sizeBytes: pulumi.Output<number>;

  constructor(name: string, args: DockerImageArgs, options?: pulumi.CustomResourceOptions) {
    super(
      {
        module: "docker",
        resource: "Image",
        credentials: CREDENTIALS,
        outputs: OUTPUTS,
      },
      name,
      args,
      options,
    );
  }
}
