export * as docker from "./platforms/docker";
export * from "./provisioners";
export * from "./post-processors";
export { Image } from "./pulumi/image";
export type { Artifact } from "./core/model";
