/** Fills `{{.Name}}` as Packer's templates do; what has no value stays as it is. */
export function renderTemplate(template: string, values: Record<string, string>): string {
  return template.replace(/\{\{\s*\.(\w+)\s*\}\}/g, (whole, name: string) => values[name] ?? whole);
}
