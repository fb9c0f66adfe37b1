/** The seed of cloud-init's NoCloud source: files for a medium with the label `cidata`. */
import type { MediaFile } from "./media";

/** Label by which cloud-init finds a seed. */
export const SEED_LABEL = "cidata";

/** What a new machine is told by its seed. */
export interface SeedOptions {
  /** Another one makes cloud-init set the machine up anew. */
  instanceId: string;
  hostname?: string;
  /** As the user wrote it, of any form that cloud-init knows. */
  userData?: string;
  /** Added to what is here; the user's own `instance-id` and `local-hostname` count more. */
  metaData?: Record<string, unknown>;
  /** cloud-init's network configuration: YAML, or an object. */
  networkConfig?: string | Record<string, unknown>;
  /** Whom the build logs in as. */
  user: string;
  /** Their key, one line. */
  publicKey?: string;
}

/**
 * Makes the files. The key comes in by the metadata (for the image's default user, and root), the user by the vendor
 * data: so the user data stays as it was written. cloud-init merges no lists, so a `users` list in the user data
 * replaces that of the vendor data, and must then give `user` its key.
 */
export function makeSeed(options: SeedOptions): MediaFile[] {
  const { networkConfig } = options;
  const files: Record<string, string> = {
    "meta-data": formatYaml(makeMetaData(options)),
    "user-data": options.userData ?? formatCloudConfig({}),
    "vendor-data": formatCloudConfig(makeVendorData(options)),
  };
  if (networkConfig !== undefined)
    files["network-config"] = typeof networkConfig === "string" ? networkConfig : formatYaml(networkConfig);
  return Object.entries(files).map(([name, text]) => ({ name, content: Buffer.from(text) }));
}

function makeMetaData({ instanceId, hostname, metaData = {}, publicKey }: SeedOptions): object {
  const keys = [...listKeys(metaData["public-keys"]), ...(publicKey === undefined ? [] : [publicKey])];
  return {
    "instance-id": instanceId,
    ...(hostname === undefined ? {} : { "local-hostname": hostname }),
    ...metaData,
    ...(keys.length === 0 ? {} : { "public-keys": keys }),
  };
}

/** The forms that cloud-init takes: a text, a list, or a map of either. */
function listKeys(given: unknown): string[] {
  if (typeof given === "string") return given.split("\n").filter((line) => line !== "");
  if (typeof given !== "object" || given === null) return [];
  return Object.values(given).flatMap(listKeys);
}

function makeVendorData({ user, publicKey }: SeedOptions): object {
  // Without this root's keys would only print that one should log in as somebody else.
  if (user === "root") return { disable_root: false };
  const named = {
    name: user,
    shell: "/bin/sh", // the one that every image has
    sudo: "ALL=(ALL) NOPASSWD:ALL",
    lock_passwd: true,
    ...(publicKey === undefined ? {} : { ssh_authorized_keys: [publicKey] }),
  };
  // If this is the default user's name, cloud-init makes one user of both entries, and the image's own settings win.
  return { users: ["default", named] };
}

function formatCloudConfig(config: object): string {
  return `#cloud-config\n${formatYaml(config)}`;
}

/** JSON is YAML, and needs no thought about quotes; but YAML refuses a few characters that JSON lets pass. */
function formatYaml(value: object): string {
  const text = JSON.stringify(value).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `${text}\n`;
}
