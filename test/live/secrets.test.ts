import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { never, openDriver, openEngine, tinyImage } from "../support/docker";
import { unpackFiles } from "../platforms/docker/fake-files";
import { createStack, type Program, type Stack } from "../support/stack";

const GZIP_MAGIC = 0x1f8b;
const TOKEN = "hunter2-Tr0ub4dor&3+/=";
/** More than a line of base64, and all that needs quoting somewhere. */
const KEY = `-----BEGIN "KEY"-----\nMIIEpAIBAAKCAQEA$(id)'quoted'\\back/üñï-€uro 100%\nnext line of the key, as long as keys are\n-----END-----`;

/** Every form in which a value is printed by the steps, and looked for. */
function encode(value: string): string[] {
  const base64 = [0, 1, 2].map((offset) =>
    Buffer.concat([Buffer.alloc(offset), Buffer.from(value)])
      .toString("base64")
      .slice(offset === 0 ? 0 : 4, -4),
  );
  const lines = value.split("\n").filter((line) => line.length >= 8);
  return [...lines, ...base64, encodeURIComponent(value), JSON.stringify(value).slice(1, -1)];
}

const FORMS = [TOKEN, KEY].flatMap(encode);

function assertHidden(where: string, content: string | Buffer, forms = FORMS): void {
  for (const form of forms) {
    const at = content.indexOf(form);
    const around = content.slice(Math.max(0, at - 80), at + form.length + 80).toString();
    assert.ok(at < 0, `${where} holds the secret as ${form}: …${around}…`);
  }
}

function readLogs(stack: Stack): string {
  const folder = path.join(stack.home, "state", "logs");
  return (fs.readdirSync(folder, { recursive: true }) as string[])
    .filter((name) => name.endsWith(".log"))
    .map((name) => fs.readFileSync(path.join(folder, name), "utf8"))
    .join("\n");
}

/** What anybody on the machine sees of the processes, and what the build wrote down. */
function readSurroundings(stack: Stack): string {
  const read = (file: string): string => {
    try {
      return fs.readFileSync(file, "utf8");
    } catch (error) {
      // Processes end, and drafts are renamed, while one looks.
      if (["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) return "";
      throw error;
    }
  };
  const journal = path.join(stack.home, "state", "journal");
  const entries = fs.existsSync(journal) ? fs.readdirSync(journal) : [];
  const processes = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return [
    ...entries.map((name) => read(path.join(journal, name))),
    ...processes.map((pid) => read(`/proc/${pid}/cmdline`).replaceAll("\0", " ")),
  ].join("\n");
}

/** Everything that `docker save` writes, unpacked where it is compressed. */
async function readLayers(image: string): Promise<Buffer> {
  const files = await unpackFiles(await (await openDriver()).saveImages([image], never));
  const contents = [...files.values()].filter((content) => content !== "folder");
  return Buffer.concat(
    contents.map((content) => (content.readUInt16BE() === GZIP_MAGIC ? gunzipSync(content) : content)),
  );
}

const PRINT_IN_MACHINE = [
  'echo "raw $TOKEN"',
  'echo "$KEY"',
  'printf %s "$TOKEN" | base64',
  'printf "user:%s" "$TOKEN" | base64',
  'printf "me:%s:more" "$TOKEN" | base64',
  'printf %s "$KEY" | base64',
  // Long enough apart to come as two pieces.
  'half=${TOKEN%????????}; printf %s "$half"; sleep 0.2; printf "%s\\n" "${TOKEN#$half}"',
  'half=${KEY%?????????????????????????????????????????}; printf %s "$half" >&2; sleep 0.2; printf "%s\\n" "${KEY#"$half"}" >&2',
];
const PRINT_LOCALLY = `node -e 'for (const value of [process.env.TOKEN, process.env.KEY]) console.log(encodeURIComponent(value), JSON.stringify(value), JSON.stringify({ deep: JSON.stringify(value) }), value)'`;

function declareApp(gate: string, inline: string[], more: Record<string, unknown> = {}): Program {
  const secretEnvironment = ["TOKEN", "KEY"];
  const app = {
    image: tinyImage(),
    volumes: [`${gate}:/gate:ro`],
    provisioners: [
      { type: "shell-local", command: PRINT_LOCALLY, secretEnvironment },
      { type: "shell", inline: [...PRINT_IN_MACHINE, ...inline], secretEnvironment },
    ],
    secrets: { TOKEN: { secret: TOKEN }, KEY: { secret: KEY } },
    ...more,
  };
  return { images: { app } };
}

test("a secret is nowhere but in the environment of the steps that name it", async (t) => {
  const gate = fs.mkdtempSync("/tmp/kiln-gate-");
  t.after(() => fs.rmSync(gate, { recursive: true, force: true }));
  const program = declareApp(gate, [
    'test "$TOKEN" = hunter2-Tr0ub4dor"&3+/="',
    'printf %s "$KEY" | wc -l | grep -q 3',
    "echo all printed",
    "while [ ! -e /gate/open ]; do sleep 0.1; done",
  ]);
  const stack = await createStack(t, `secrets-${process.pid}`, program);

  const up = stack.start(["up", "--yes", "--skip-preview"]);
  let isPrinted = false;
  for (let attempt = 0; attempt < 1000 && !isPrinted; attempt++) {
    assertHidden("the process list or the journal", readSurroundings(stack));
    isPrinted = up.text().includes("step 3 of") && readLogs(stack).includes("all printed");
    await delay(50);
  }
  fs.writeFileSync(path.join(gate, "open"), "");
  const { code, text } = await up.done;
  assert.equal(code, 0, text);
  assert.ok(isPrinted, text);
  assertHidden("the output of up", text);
  const log = readLogs(stack);
  assertHidden("the log", log);
  assert.ok(log.split("[secret]").length > 12, log);

  const state = await stack.state();
  assertHidden("the state", state);
  const id = String(
    (
      JSON.parse(state) as { deployment: { resources: { outputs?: { imageId?: string } }[] } }
    ).deployment.resources
      .map((resource) => resource.outputs?.imageId)
      .find(Boolean),
  );
  const engine = await openEngine();
  const request = { method: "GET", signal: never } as const;
  assertHidden(
    "the history",
    JSON.stringify((await engine.request({ ...request, path: `/images/${id}/history` })).body),
  );
  assertHidden(
    "the configuration",
    JSON.stringify((await engine.request({ ...request, path: `/images/${id}/json` })).body),
  );
  assertHidden("the layers", await readLayers(id));

  // Another command, and it fails; another secret besides.
  stack.declare(
    declareApp(gate, ["exit 3"], {
      registryAuth: [{ server: "127.0.0.1:1", username: "me", password: { secret: `${TOKEN}-other` } }],
      onError: "cleanup",
    }),
  );
  assertHidden("the preview", await stack.preview());
  const failure = await stack.failingUp();
  assert.match(failure, /exit code 3/);
  assert.match(failure, /\[secret\]/);
  assertHidden("the failure", failure);
  assertHidden("the log of the failure", readLogs(stack));
  assertHidden("the state after the failure", await stack.state());
});

test("a secret inside the options of a step or an option works, and hides what is near it, with one warning", async (t) => {
  const inner = "inter-polated/Secret99";
  const forms = encode(inner);
  const declare = (last: string): Program => ({
    images: {
      app: {
        image: tinyImage(),
        environment: { IN_OPTION: { secret: `${inner}-option` } },
        provisioners: [
          { type: "file", content: { secret: `${inner}\n` }, destination: "/result" },
          {
            type: "shell",
            inline: [{ secret: `echo ${inner} | tee /dev/stderr; ${last}` }, "echo $IN_OPTION"],
          },
          { type: "shell-local", command: { secret: `echo ${inner} >&2; ${last}` } },
        ],
        registryAuth: [{ server: "127.0.0.1:1", username: "me", password: { secret: `${inner}-password` } }],
      },
    },
  });
  const stack = await createStack(
    t,
    `inside-${process.pid}`,
    declare("grep -q polated /result || test -d /work || true"),
  );
  const { text } = await stack.up();
  assertHidden("the output of up", text, forms);
  assert.equal(text.slice(text.indexOf("Diagnostics:")).match(/warning:/g)?.length, 1, text);
  assert.match(text, /provisioners hold a secret value.*secretEnvironment/s);
  assertHidden("the log", readLogs(stack), forms);
  assert.doesNotMatch(readLogs(stack), /tee/);
  assertHidden("the state", await stack.state(), forms);

  stack.declare(declare("exit 5"));
  assertHidden("the preview", await stack.preview(), forms);
  const failure = await stack.failingUp();
  assert.match(failure, /exit code 5/);
  assertHidden("the failure", failure, forms);
  assertHidden("the log of the failure", readLogs(stack), forms);
});

test("options that are refused are named without the secrets in them", async (t) => {
  const inner = "refused-Secret-4711";
  const secret = { secret: inner };
  const wrong: Record<string, unknown>[] = [
    { image: tinyImage(), provisioners: [{ type: "shell", inline: secret }] },
    { image: tinyImage(), provisioners: [{ type: "shell", inlin: [secret] }], secrets: { A: [secret] } },
    {
      image: tinyImage(),
      registryAuth: [{ server: 5, user: "x", password: { deep: secret } }],
      changes: [secret],
    },
    { image: secret, pull: secret, volumes: secret, buildTimeout: secret, provisioners: [secret] },
    { image: tinyImage(), postProcessors: [{ type: "docker-tag", repository: secret }] },
  ];
  const stack = await createStack(t, `refused-${process.pid}`, { images: {} });
  for (const app of wrong) {
    stack.declare({ images: { app } });
    const { code, text } = await stack.run(["preview", "--diff"]);
    assert.notEqual(code, 0, text);
    assert.match(text, /rovisioners|secrets|registryAuth|postProcessors/);
    assertHidden("the check's failure", text, [...encode(inner), inner.toLowerCase()]);
  }
});
