import { randomBytes } from "node:crypto";

/** Where to, as the script on the machine wants it. */
export interface UploadTarget {
  KIND: "folder" | "file";
  DEST: string;
  DIR: string;
  NAME: string;
  STAGE: string;
}

/** A folder's `remote` may end in "/"; a path that is not absolute begins where the shell does. */
export function describeTarget(isFolder: boolean, remote: string): UploadTarget {
  const path = (remote.startsWith("/") ? remote : `./${remote}`).replace(/(?<=[^/])\/+$/, "");
  const slash = path.lastIndexOf("/");
  return {
    KIND: isFolder ? "folder" : "file",
    DEST: path,
    DIR: path.slice(0, slash) || "/",
    NAME: path.slice(slash + 1),
    STAGE: `.kiln-${randomBytes(8).toString("hex")}`,
  };
}
