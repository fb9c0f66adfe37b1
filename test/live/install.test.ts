import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { promisify } from "node:util";
import { listClaimTags, tinyImage } from "../support/docker";

const run = promisify(execFile);
const REPOSITORY = path.resolve(__dirname, "..", "..", "..");
const SDK = JSON.parse(fs.readFileSync(path.join(REPOSITORY, "package.json"), "utf8")) as {
  devDependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
};
const newestSdk = SDK.devDependencies["@pulumi/pulumi"] ?? "";
const oldestSdk = (SDK.peerDependencies["@pulumi/pulumi"] ?? "").replace("^", "");

let tarball = "";
const packed = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-pack-"));

before(async () => {
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", packed], { cwd: REPOSITORY });
  const [info] = JSON.parse(stdout) as { filename: string }[];
  tarball = path.join(packed, info?.filename ?? "");
});
after(() => fs.rmSync(packed, { recursive: true, force: true }));

const typescriptProgram = `
import * as pulumi from "@pulumi/pulumi";
import * as kiln from "pulumi-kiln";

const token: pulumi.Output<string> = pulumi.secret("not so secret");
const image = new kiln.docker.Image("app", {
  image: process.env.KILN_TINY_IMAGE ?? "",
  secrets: { TOKEN: token },
  provisioners: [
    kiln.file({ content: "hello\\n", destination: "/hello" }),
    kiln.shell({ inline: [pulumi.interpolate\`test -n "$TOKEN"\`], secretEnvironment: ["TOKEN"] }),
  ],
});
export const imageId: pulumi.Output<string> = image.imageId;
`;

const commonJsProgram = `
const kiln = require("pulumi-kiln");
const image = new kiln.docker.Image("app", {
  image: process.env.KILN_TINY_IMAGE,
  provisioners: [kiln.file({ content: "hello\\n", destination: "/hello" })],
});
exports.imageId = image.imageId;
`;

interface Project {
  name: string;
  files: Record<string, string>;
  dependencies: Record<string, string>;
  install?: [string, ...string[]];
  module?: "module" | "commonjs";
  main: string;
}

/** Installs as a user would, runs up, preview and destroy, and looks whether anything is left. */
async function useProject(t: TestContext, project: Project): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "kiln-install-"));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const name = `${project.name}-${process.pid}`;
  const files: Record<string, string> = {
    "package.json": JSON.stringify({
      name,
      main: project.main,
      type: project.module ?? "commonjs",
      dependencies: project.dependencies,
    }),
    "Pulumi.yaml": `name: ${name}\nruntime: nodejs\n`,
    ...project.files,
  };
  for (const [file, content] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true });
    fs.writeFileSync(path.join(folder, file), content);
  }
  const environment = {
    ...process.env,
    PULUMI_BACKEND_URL: `file://${folder}`,
    PULUMI_CONFIG_PASSPHRASE: "",
    PULUMI_KILN_HOME: path.join(folder, ".home"),
  };
  const execute = async (program: string, args: string[]): Promise<string> => {
    const { stdout, stderr } = await run(program, args, {
      cwd: folder,
      env: environment,
      maxBuffer: 1e8,
    }).catch((reason: unknown) => {
      const error = reason as Error & { stdout?: string; stderr?: string };
      throw new Error(
        `${program} ${args.join(" ")}: ${error.message}\n${error.stdout ?? ""}${error.stderr ?? ""}`,
      );
    });
    return stdout + stderr;
  };
  const pulumi = (...args: string[]): Promise<string> =>
    execute(process.env["KILN_PULUMI"] ?? "pulumi", [...args, "--stack", "test", "--non-interactive"]);
  const [installer, ...installArgs] = project.install ?? ["npm", "install", "--no-audit", "--no-fund"];
  await execute(installer, installArgs);
  await pulumi("stack", "init");
  try {
    await pulumi("up", "--yes", "--skip-preview");
    assert.match(await pulumi("stack", "output", "imageId"), /^sha256:/);
    assert.match(await pulumi("preview", "--expect-no-changes"), /unchanged/);
  } finally {
    await pulumi("destroy", "--yes", "--skip-preview");
  }
  assert.deepEqual(await listClaimTags(name), []);
}

const typescript = {
  typescript: SDK.devDependencies["typescript"] ?? "",
  "ts-node": SDK.devDependencies["ts-node"] ?? "",
  "@types/node": "^20.19.0",
};

function compilerOptions(more: Record<string, unknown>): string {
  // `skipLibCheck: false`: our own declarations must compile without any optional package.
  return JSON.stringify({
    compilerOptions: { strict: true, skipLibCheck: false, target: "es2022", types: ["node"], ...more },
  });
}

test("from the tarball, in a TypeScript program that checks all declarations", async (t) => {
  tinyImage();
  await useProject(t, {
    name: "inst-ts",
    main: "index.ts",
    dependencies: { "pulumi-kiln": `file:${tarball}`, "@pulumi/pulumi": newestSdk, ...typescript },
    files: {
      "index.ts": typescriptProgram,
      "tsconfig.json": compilerOptions({ module: "node16", moduleResolution: "node16" }),
    },
  });
});

test("from an ES module, beside the oldest SDK that is promised", async (t) => {
  await useProject(t, {
    name: "inst-esm",
    main: "index.js",
    module: "module",
    dependencies: { "pulumi-kiln": `file:${tarball}`, "@pulumi/pulumi": oldestSdk },
    files: {
      "index.js": commonJsProgram
        .replace('const kiln = require("pulumi-kiln")', 'import * as kiln from "pulumi-kiln"')
        .replace("exports.imageId =", "export const imageId ="),
    },
  });
});

test("nested below another package, which is what npm does when versions differ", async (t) => {
  await useProject(t, {
    name: "inst-nested",
    main: "index.js",
    dependencies: { "@pulumi/pulumi": newestSdk, "@acme/web": "file:web" },
    files: {
      "index.js": 'Object.assign(exports, require("@acme/web"));',
      "web/package.json": JSON.stringify({
        name: "@acme/web",
        version: "1.0.0",
        main: "index.js",
        dependencies: { "pulumi-kiln": `file:${tarball}` },
      }),
      "web/index.js": commonJsProgram,
    },
    install: ["npm", "install", "--install-strategy=nested", "--install-links", "--no-audit", "--no-fund"],
  });
});

test("by pnpm, which hides what a package does not name", async (t) => {
  await useProject(t, {
    name: "inst-pnpm",
    main: "index.js",
    dependencies: { "pulumi-kiln": `file:${tarball}`, "@pulumi/pulumi": newestSdk },
    files: { "index.js": commonJsProgram },
    install: [path.join(REPOSITORY, "node_modules/.bin/pnpm"), "install", "--ignore-scripts"],
  });
});
