import { renderTemplate } from "../core/template";
import type { Artifact } from "../core/model";

/** The input's files; an artifact without any is the wrong place for a post-processor that works on files. */
export function requireFiles(input: Artifact, type: string): string[] {
  if (input.files && input.files.length > 0) return input.files;
  throw new Error(
    `${type}: its input (${input.kind}) has no files. Put it after one that writes a file, such as \`kiln.docker.save\`, or set \`exportPath\``,
  );
}

/** Fills in a file name as Packer does. */
export function renderOutput(
  context: { name: string; platform: string },
  template: string,
  more: Record<string, string> = {},
): string {
  return renderTemplate(template, { BuildName: context.name, BuilderType: context.platform, ...more });
}
