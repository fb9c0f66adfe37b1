/** The container that a proxy runs in, through the engine: also a remote one. */
import { Readable } from "node:stream";
import { extract, pack } from "tar-stream";
import { connectEngine, type Engine } from "../../platforms/docker/engine";
import { EngineDriver } from "../../platforms/docker/engine-driver";
import { EngineError, EngineUnreachableError } from "../../platforms/docker/engine-error";
import { findEndpoint } from "../../platforms/docker/endpoint";
import { GoneError, UnreachableError } from "./balancer";

/** Every method rejects with a GoneError if there is no such container, with an UnreachableError if it or the engine does not answer. */
export class ProxyContainer {
  private readonly driver: EngineDriver;

  private constructor(
    private readonly engine: Engine,
    readonly name: string,
  ) {
    this.driver = new EngineDriver(engine);
  }

  static async connect(name: string, host: string | undefined, signal: AbortSignal): Promise<ProxyContainer> {
    return explainEngine(name, async () => {
      const engine = await connectEngine(findEndpoint({ host }), { signal });
      return new ProxyContainer(engine, name);
    });
  }

  /** Runs a command as root; the container must run. */
  run(argv: string[], signal: AbortSignal): Promise<{ exitCode: number; output: string }> {
    return explainEngine(this.name, async () => {
      const chunks: Buffer[] = [];
      const onOutput = (chunk: Buffer): void => void chunks.push(chunk);
      const exitCode = await this.driver.runCommand(this.name, {
        argv,
        user: "0",
        environment: [],
        onOutput,
        signal,
      });
      return { exitCode, output: Buffer.concat(chunks).toString() };
    });
  }

  /** The files directly in a folder, by name; the container need not run. */
  readFolder(folder: string, signal: AbortSignal): Promise<Map<string, string>> {
    return explainEngine(this.name, async () => {
      const files = new Map<string, string>();
      const unpacked = (await this.driver.getArchive(this.name, folder, signal)).pipe(extract());
      for await (const entry of unpacked) {
        const chunks: Buffer[] = [];
        for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk);
        const [, name = "", ...deeper] = entry.header.name.split("/");
        if (entry.header.type === "file" && deeper.length === 0)
          files.set(name, Buffer.concat(chunks).toString());
      }
      return files;
    });
  }

  /** Folders are named with a slash at their end. The container need not run. */
  writeFolder(folder: string, files: { [path: string]: string }, signal: AbortSignal): Promise<void> {
    return explainEngine(this.name, async () => {
      const archive = pack();
      for (const [path, text] of Object.entries(files)) {
        if (path.endsWith("/")) archive.entry({ name: path, type: "directory", mode: 0o755 });
        else archive.entry({ name: path, mode: 0o644 }, text);
      }
      archive.finalize();
      const bytes = Readable.from(archive as AsyncIterable<Buffer>, { objectMode: false });
      await this.driver.putArchive(this.name, folder, bytes, signal);
    });
  }

  /** One that ends again and again is started by its engine only after a while. */
  restart(signal: AbortSignal): Promise<void> {
    return explainEngine(this.name, async () => {
      await this.engine.request({
        attempt: `Restarting container ${this.name}`,
        method: "POST",
        path: `/containers/${encodeURIComponent(this.name)}/restart`,
        query: { t: 1 },
        signal,
      });
    });
  }
}

async function explainEngine<T>(container: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof EngineUnreachableError) throw new UnreachableError(error.message, { cause: error });
    if (!(error instanceof EngineError)) throw error;
    if (error.status === 404 && /no such container/i.test(error.message))
      throw new GoneError(
        `The proxy's container ${container} does not exist. Run \`pulumi up --refresh\`: it is made again`,
        { cause: error },
      );
    // It is there, and does not run.
    if (error.status === 409) throw new UnreachableError(error.message, { cause: error });
    throw error;
  }
}
