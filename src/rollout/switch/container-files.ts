/** The configuration of a proxy in a container. */
import { sleep } from "../../core/retry";
import type { Saved } from "../plan";
import { UnreachableError } from "./balancer";
import type { ProxyFiles } from "./haproxy-balancer";
import {
  CONFIGURATION_FOLDER,
  hashHealth,
  hashSettings,
  MAP_FILE,
  NEXT_BACKEND,
  readRunning,
  readSaved,
  renderConfiguration,
  type ConfigurationFiles,
  type ConfigurationSettings,
} from "./haproxy-config";
import type { ProxyContainer } from "./proxy-container";
import type { RuntimeApi } from "./runtime-api";

const START_MS = 20_000;
/** One that starts with a configuration that it has long had needs less. */
const ANSWER_MS = 5000;
const POLL_MS = 100;
/** Checked before it takes the place of what runs; the map last, since it names what the rest must know. */
const INSTALL = `cd ${CONFIGURATION_FOLDER} && haproxy -c -f next/haproxy.cfg && \
rm -rf certs && mv next/certs certs && mv next/haproxy.cfg . && mv next/${MAP_FILE} . && rm -rf next`;

export class ContainerFiles implements ProxyFiles {
  readonly nextBackend = NEXT_BACKEND;

  constructor(
    private readonly container: ProxyContainer,
    private readonly settings: ConfigurationSettings,
  ) {}

  /** A new container waits for its first configuration. One that cannot start with what it has gets what is wished now. */
  async prepare(api: RuntimeApi, signal: AbortSignal): Promise<void> {
    const { config } = await this.readFiles(signal);
    if (config === "") {
      await this.writeFiles("", renderConfiguration(this.settings, this.describeFirst()), signal);
      return this.waitUntilAnswers(api, START_MS, signal);
    }
    try {
      await this.waitUntilAnswers(api, ANSWER_MS, signal);
    } catch (error) {
      if (!(error instanceof UnreachableError)) throw error;
      const { live, servers } = readSaved(config) ?? this.describeFirst();
      const saved = { ...this.describeFirst(), live, servers };
      await this.writeFiles("", renderConfiguration(this.settings, saved), signal);
      await this.container.restart(signal);
      await this.waitUntilAnswers(api, START_MS, signal);
    }
  }

  readRunning(description: string): { settings: string; health: { [backend: string]: string } } {
    return readRunning(description, this.settings.backends);
  }

  async findSaved(signal: AbortSignal): Promise<Saved | "altered"> {
    const { config, map } = await this.readFiles(signal);
    const saved = readSaved(config);
    if (!saved) return "altered";
    const [live = "", owner = ""] = map.split("\n").map((line) => line.split(" ")[1] ?? "");
    const real = { ...saved, live, owner };
    // With other settings it is another text anyway, and written anew for that.
    if (saved.settings !== hashSettings(this.settings)) return real;
    return renderConfiguration(this.settings, saved, config)["haproxy.cfg"] === config ? real : "altered";
  }

  async save(saved: Saved, signal: AbortSignal): Promise<void> {
    const { config } = await this.readFiles(signal);
    await this.writeFiles("next/", renderConfiguration(this.settings, saved, config), signal);
    const { exitCode, output } = await this.container.run(["sh", "-c", INSTALL], signal);
    if (exitCode !== 0)
      throw new Error(
        `Checking the proxy's new configuration in container ${this.container.name}: HAProxy refuses it, and runs on as before: ${output.trim()}`,
      );
  }

  private describeFirst(): Saved {
    const { owner, backends } = this.settings;
    const health = Object.fromEntries(backends.map((name) => [name, hashHealth(this.settings)]));
    return { owner, live: backends[0], servers: {}, settings: hashSettings(this.settings), health };
  }

  private async waitUntilAnswers(api: RuntimeApi, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const end = Date.now() + timeoutMs;
    for (;;) {
      try {
        if ((await api.listWorkers(signal)).id !== "") return;
      } catch (error) {
        if (!(error instanceof UnreachableError)) throw error;
        if (Date.now() > end)
          throw new UnreachableError(
            `Waiting for the proxy in container ${this.container.name}: no answer in ${timeoutMs / 1000} s. See \`docker logs ${this.container.name}\``,
            { cause: error },
          );
      }
      await sleep(POLL_MS, signal);
    }
  }

  private async readFiles(signal: AbortSignal): Promise<{ config: string; map: string }> {
    const files = await this.container.readFolder(CONFIGURATION_FOLDER, signal);
    return { config: files.get("haproxy.cfg") ?? "", map: files.get(MAP_FILE) ?? "" };
  }

  private writeFiles(prefix: string, files: ConfigurationFiles, signal: AbortSignal): Promise<void> {
    const all: ConfigurationFiles = { ...(prefix === "" ? {} : { [prefix]: "" }), [`${prefix}certs/`]: "" };
    for (const [path, text] of Object.entries(files)) all[prefix + path] = text;
    return this.container.writeFolder(CONFIGURATION_FOLDER, all, signal);
  }
}
