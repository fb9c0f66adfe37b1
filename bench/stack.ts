import * as fs from "node:fs";
import * as path from "node:path";
import { timeProcess } from "./measure";

const REPOSITORY = path.resolve(__dirname, "..", "..");

/** A stack on a backend of its own below `parent`, whose program finds this package and the SDK. */
export async function makeStack(
  parent: string,
  name: string,
  program: string,
): Promise<{ folder: string; pulumi: (...args: string[]) => Promise<{ milliseconds: number }> }> {
  const folder = path.join(parent, name);
  const sdk = "node_modules/@pulumi/pulumi";
  fs.mkdirSync(path.join(folder, path.dirname(sdk)), { recursive: true });
  fs.symlinkSync(REPOSITORY, path.join(folder, "node_modules/pulumi-kiln"));
  fs.symlinkSync(path.join(REPOSITORY, sdk), path.join(folder, sdk));
  const settings = `name: bench-${name}\nruntime:\n  name: nodejs\n  options: { typescript: false }\n`;
  fs.writeFileSync(path.join(folder, "Pulumi.yaml"), settings);
  fs.writeFileSync(path.join(folder, "package.json"), '{"main":"index.js"}');
  fs.writeFileSync(path.join(folder, "index.js"), program);
  const environment = {
    PULUMI_BACKEND_URL: `file://${folder}`,
    PULUMI_CONFIG_PASSPHRASE: "",
    PULUMI_KILN_HOME: path.join(parent, ".kiln"),
  };
  const pulumi = (...args: string[]): Promise<{ milliseconds: number }> =>
    timeProcess(
      [process.env["KILN_PULUMI"] ?? "pulumi", ...args, "--stack", "bench", "--non-interactive"],
      folder,
      environment,
    );
  await pulumi("stack", "init");
  return { folder, pulumi };
}
