/** What the engine makes of an image's configuration when it creates a container, or commits one. */
import type { ImageConfig } from "../../../src/platforms/docker/driver";

/** The engine's own rules: what is left empty is filled from below, and an empty list of a command counts as empty. */
export function mergeConfig(own: ImageConfig, below: ImageConfig): ImageConfig {
  const merged: ImageConfig = { ...below, ...dropEmpty(own) };
  const names = new Set((own.Env ?? []).map(nameOf));
  const env = [...(own.Env ?? []), ...(below.Env ?? []).filter((entry) => !names.has(nameOf(entry)))];
  if (env.length > 0) merged.Env = env;
  if (own["Labels"] ?? below["Labels"])
    merged["Labels"] = { ...(below["Labels"] as object), ...(own["Labels"] as object) };
  merged["Entrypoint"] = own["Entrypoint"];
  merged["Cmd"] = own["Cmd"];
  if (isEmpty(own["Entrypoint"])) {
    if (isEmpty(own["Cmd"])) merged["Cmd"] = below["Cmd"];
    merged["Entrypoint"] ??= below["Entrypoint"];
  }
  return merged;
}

/** Instructions as in a Dockerfile; as many as the tests use. */
export function applyChanges(config: ImageConfig, changes: readonly string[]): ImageConfig {
  const changed: ImageConfig = { ...config };
  for (const change of changes) {
    const [, instruction = "", rest = ""] = /^\s*(\w+)\s+(.*)$/s.exec(change) ?? [];
    const [name = "", value = ""] = splitOnce(rest);
    if (instruction === "CMD") changed["Cmd"] = JSON.parse(rest);
    else if (instruction === "ENTRYPOINT") changed["Entrypoint"] = JSON.parse(rest);
    else if (instruction === "USER") changed.User = rest;
    else if (instruction === "LABEL") changed["Labels"] = { ...(changed["Labels"] as object), [name]: value };
    else if (instruction === "ENV") changed.Env = [...(changed.Env ?? []), rest];
    else throw new Error(`Applying "${change}": the fake engine does not know ${instruction}`);
  }
  return changed;
}

function splitOnce(entry: string): [string, string] {
  const at = entry.indexOf("=");
  return [entry.slice(0, at), entry.slice(at + 1)];
}

function nameOf(entry: string): string {
  return splitOnce(entry)[0];
}

function isEmpty(list: unknown): boolean {
  return !Array.isArray(list) || list.length === 0;
}

function dropEmpty(config: ImageConfig): ImageConfig {
  return Object.fromEntries(
    Object.entries(config).filter(([, value]) => value !== undefined && value !== null && value !== ""),
  );
}
