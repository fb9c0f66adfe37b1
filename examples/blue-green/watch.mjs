/**
 * `node watch.mjs [address]`: asks the application again and again, and prints a line per second: how many requests were
 * answered, by which version, and how many failed. Ctrl-C ends it with the sum.
 */
import http from "node:http";

const address = process.argv[2] ?? "http://127.0.0.1:8000";
const clients = 10;
const pauseMs = 50;

const total = { answered: 0, failed: 0 };
let versions = new Map();
let failures = new Map();

const count = (map, name) => map.set(name, (map.get(name) ?? 0) + 1);
const list = (map) => [...map].map(([name, times]) => `${name} (${times})`).join(", ");
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function ask(agent) {
  return new Promise((resolve, reject) => {
    const request = http.get(address, { agent }, (response) => {
      let text = "";
      response.on("data", (chunk) => (text += chunk));
      response.on("error", reject);
      response.on("end", () =>
        response.statusCode === 200
          ? resolve(text.trim())
          : reject(new Error(`status ${response.statusCode}`)),
      );
    });
    request.on("error", reject);
  });
}

/** Every other client keeps its connection, as browsers do. */
async function runClient(index) {
  const agent = index % 2 === 0 ? new http.Agent({ keepAlive: true }) : false;
  for (;;) {
    try {
      count(versions, await ask(agent));
      total.answered++;
    } catch (error) {
      count(failures, error.code ?? error.message);
      total.failed++;
    }
    await wait(pauseMs);
  }
}

setInterval(() => {
  const answered = [...versions.values()].reduce((sum, times) => sum + times, 0);
  const failed = failures.size === 0 ? "0 failed" : `FAILED: ${list(failures)}`;
  console.log(
    `${new Date().toLocaleTimeString()}  ${String(answered).padStart(4)}/s  ${failed}  ${list(versions)}`,
  );
  versions = new Map();
  failures = new Map();
}, 1000);

process.on("SIGINT", () => {
  console.log(`\n${total.answered} requests answered, ${total.failed} failed`);
  process.exit(total.failed === 0 ? 0 : 1);
});

for (let index = 0; index < clients; index++) void runClient(index);
