/** The public names of `kiln.docker`. */
export { DockerImage as Image, type DockerImageArgs as ImageArgs } from "./resource";
export type { DockerImageOptions as ImageOptions, RegistryAuth } from "./options";
export { tag, push, save } from "./post-processors";
export type { PushOptions } from "./push";
export type { SaveOptions } from "./save";
export type { TagOptions } from "./tag";
