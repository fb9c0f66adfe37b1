/** The public names of `kiln.qemu`. */
export { QemuImage as Image, type QemuImageArgs as ImageArgs } from "./resource";
export type {
  BootTestOptions,
  CloudInitOptions,
  EfiOptions,
  QemuImageOptions as ImageOptions,
} from "./options";
