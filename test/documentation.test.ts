import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import ts from "typescript";

const REPOSITORY = path.resolve(__dirname, "..", "..");

/** Where the snippets of a page could stand as a file. */
const PAGES: [page: string, asIf: string][] = [
  ["README.md", "snippet.ts"],
  ["CONTRIBUTING.md", "src/provisioners/snippet.ts"],
];

for (const [page, asIf] of PAGES) {
  test(`the code in ${page} compiles`, () => {
    const text = fs.readFileSync(path.join(REPOSITORY, page), "utf8");
    const snippets = [...text.matchAll(/```ts\n(.*?)```/gs)].map((match) => match[1] ?? "");
    assert.ok(snippets.length > 0);
    for (const snippet of snippets) assert.deepEqual(compile(path.join(REPOSITORY, asIf), snippet), []);
  });
}

test("the links between the pages lead somewhere", () => {
  for (const page of [
    "README.md",
    "CONTRIBUTING.md",
    "src/README.md",
    "examples/python-app/README.md",
    "examples/blue-green/README.md",
  ]) {
    const text = fs.readFileSync(path.join(REPOSITORY, page), "utf8");
    for (const [, link = ""] of text.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) {
      assert.ok(
        fs.existsSync(path.resolve(REPOSITORY, path.dirname(page), link)),
        `${page} links to ${link}`,
      );
    }
  }
});

test("the declarations that users compile name neither zod nor any other run-time dependency", () => {
  const seen = new Set<string>();
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    const declarations = fs.readFileSync(file, "utf8");
    for (const [, specifier = ""] of declarations.matchAll(/(?:from |import\()"([^"]+)"/g)) {
      if (!specifier.startsWith("."))
        assert.match(specifier, /^(node:|@pulumi\/pulumi$)/, `${file} imports ${specifier}`);
      else visit(findDeclaration(path.resolve(path.dirname(file), specifier)));
    }
  };
  for (const entry of ["index", "rollout/haproxy"]) visit(path.join(REPOSITORY, `dist/${entry}.d.ts`));
  assert.ok(seen.size > 10);
  // Who uses no Docker provider need not have its types.
  assert.ok([...seen].every((file) => !file.includes("rollout/docker")));
});

function findDeclaration(target: string): string {
  const file = `${target}.d.ts`;
  return fs.existsSync(file) ? file : path.join(target, "index.d.ts");
}

/** All snippets have the same declarations around them, and those of Pulumi are many. */
const parsed = new Map<string, ts.SourceFile | undefined>();

function compile(file: string, snippet: string): string[] {
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.Node16,
    moduleResolution: ts.ModuleResolutionKind.Node16,
    types: ["node"],
    typeRoots: [path.join(REPOSITORY, "node_modules/@types")],
    baseUrl: REPOSITORY,
    paths: { "pulumi-kiln": ["./src/index.ts"], "pulumi-kiln/rollout/*": ["./src/rollout/*.ts"] },
  };
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists } = host;
  host.fileExists = (name) => name === file || fileExists.call(host, name);
  host.readFile = (name) => (name === file ? snippet : readFile.call(host, name));
  const getSourceFile = host.getSourceFile.bind(host);
  host.getSourceFile = (name, ...rest) => {
    if (name === file) return ts.createSourceFile(name, snippet, ts.ScriptTarget.ES2022);
    if (!parsed.has(name)) parsed.set(name, getSourceFile(name, ...rest));
    return parsed.get(name);
  };
  const program = ts.createProgram([file], options, host);
  return ts
    .getPreEmitDiagnostics(program)
    .map((diagnostic) => ts.flattenDiagnosticMessageText(diagnostic.messageText, "\n"));
}
