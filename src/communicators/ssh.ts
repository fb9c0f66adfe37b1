import { randomBytes } from "node:crypto";
import { ConnectionLostError, TimeoutError } from "../core/errors";
import type { Communicator, ExecOptions, ExecResult, LocalSource } from "../core/model";
import type { Log } from "../core/log";
import { formatVariables, quote, READ_VARIABLES, wrapScript } from "./ssh-command";
import { SshConnector, type SshTarget } from "./ssh-connect";
import type { SshConnection } from "./ssh-connection";
import type { SshOptions } from "./ssh-options";
import { LocalTunnels, parseTunnel } from "./ssh-tunnels";
import { download } from "./transfer/download";
import { MissingProgramError, type Machine } from "./transfer/machine";
import { upload } from "./transfer/upload";

const KILL_MS = 5000;
const STDIN_PIECE_BYTES = 256 * 1024;
/** What a terminal takes for the end of the input. */
const END_OF_INPUT = 4;

export interface ConnectOptions extends SshTarget {
  signal: AbortSignal;
  log: Pick<Log, "progress" | "info">;
}

/** Waits until a machine answers by SSH and lets us in: see `sshTimeout`. */
export async function connectSsh(options: SshOptions, target: ConnectOptions): Promise<SshCommunicator> {
  const connector = await SshConnector.create(options, target);
  const connection = await connector.connect(target.signal);
  const communicator = new SshCommunicator(options, target, connector, connection);
  try {
    await communicator.openTunnels();
  } catch (error) {
    await communicator.close();
    throw error;
  }
  return communicator;
}

/** Talks to a machine by SSH; a connection that was lost is made anew when the next command starts. */
export class SshCommunicator implements Communicator {
  readonly os = "unix";
  private tunnels: LocalTunnels | undefined;
  private connecting: Promise<SshConnection> | undefined;
  private linkRate: number | undefined;
  /** Of commands that may still run, since their connection was lost. */
  private readonly leftMarkers: string[] = [];

  constructor(
    private readonly options: SshOptions,
    private readonly target: ConnectOptions,
    private readonly connector: SshConnector,
    private connection: SshConnection,
  ) {}

  /** The machine's host key, pinned since the first connection: a machine that is resumed later must show it again. */
  get hostKey(): string {
    return this.connector.pin.publicKey ?? "";
  }

  async openTunnels(): Promise<void> {
    const tunnels = (this.options.sshLocalTunnels ?? []).map(parseTunnel);
    if (tunnels.length > 0) this.tunnels = await LocalTunnels.open(tunnels, () => this.connection);
  }

  async reconnect(signal: AbortSignal): Promise<void> {
    // A machine that reboots may still answer on the old connection.
    await this.connection.close();
    await this.connect(signal);
  }

  async exec(command: string, options: ExecOptions): Promise<ExecResult> {
    const marker = randomBytes(8).toString("hex");
    await this.endLeft(options.signal);
    const connection = await this.connect(options.signal);
    try {
      const { pty, agent } = { pty: this.options.sshPty ?? false, agent: this.forwardsAgent };
      const variables = { ...options.environment, KILN_STEP: marker };
      const exitCode = pty
        ? await this.runInTerminal(connection, command, variables, options, agent)
        : await this.run(connection, command, variables, options, agent);
      return { exitCode };
    } catch (error) {
      // The step may be tried again: what is left of it must not run beside the next try.
      if (options.signal.aborted && options.signal.reason instanceof TimeoutError)
        await this.killMarked(marker);
      else if (error instanceof ConnectionLostError && !options.expectDisconnect)
        this.leftMarkers.push(marker);
      throw error;
    }
  }

  async upload(local: LocalSource, remote: string, signal: AbortSignal): Promise<void> {
    await upload(this.machine(), { local, remote, cwd: this.target.cwd, signal });
  }

  async download(
    remote: string,
    local: string,
    options: { folder: boolean; signal: AbortSignal },
  ): Promise<void> {
    await download(this.machine(), { remote, local, ...options });
  }

  async close(): Promise<void> {
    this.tunnels?.close();
    await this.connection.close();
  }

  private get forwardsAgent(): boolean {
    return this.options.sshAgentAuth === true && this.options.sshDisableAgentForwarding !== true;
  }

  private async connect(signal: AbortSignal): Promise<SshConnection> {
    if (this.connection.isAlive) return this.connection;
    this.connecting ??= this.connector.retry(signal).finally(() => (this.connecting = undefined));
    return (this.connection = await this.connecting);
  }

  private async run(
    connection: SshConnection,
    command: string,
    variables: Record<string, string>,
    { signal, stdin, onOutput }: ExecOptions,
    agent: boolean,
  ): Promise<number> {
    const process = await connection.start(wrapScript(`${READ_VARIABLES}\n${beginAnew(command)}`), {
      signal,
      agent,
    });
    const onData = (chunk: Buffer): void => onOutput?.(chunk);
    process.stdout.on("data", onData);
    process.stderr.on("data", onData);
    await process.write(Buffer.from(formatVariables(variables, { export: true })));
    const input = Buffer.from(stdin ?? "");
    for (let at = 0; at < input.length; at += STDIN_PIECE_BYTES)
      if (!(await process.write(input.subarray(at, at + STDIN_PIECE_BYTES)))) break;
    process.end();
    return process.exitCode;
  }

  /** A terminal cuts long lines and acts on some bytes: what is to be read goes by a file that is gone before the command begins. */
  private async runInTerminal(
    connection: SshConnection,
    command: string,
    variables: Record<string, string>,
    options: ExecOptions,
    agent: boolean,
  ): Promise<number> {
    const { signal, onOutput } = options;
    const file = `/tmp/.kiln-${variables["KILN_STEP"]}`;
    const quiet = { ...options, onOutput: undefined };
    const input = Buffer.concat([
      Buffer.from(formatVariables(variables, { export: true })),
      Buffer.from(options.stdin ?? ""),
    ]);
    const save = `umask 077; set -C; cat >${file}`;
    if ((await this.run(connection, save, {}, { ...quiet, stdin: input }, false)) !== 0)
      throw new Error(
        `Writing ${file} on the machine, for the input of a command: it failed. Is there space in /tmp?`,
      );
    const script = `exec 4<${file}; rm -f ${file}; NL=${quote("\n")}; IFS= read -r KILN_LINE <&4; eval "$KILN_LINE"; unset KILN_LINE NL
${options.stdin === undefined ? "exec 4<&-" : "exec 0<&4 4<&-"}
${beginAnew(command)}`;
    const process = await connection.start(wrapScript(script), { signal, pty: true, agent });
    process.stdout.on("data", (chunk: Buffer) => onOutput?.(chunk));
    process.stderr.on("data", (chunk: Buffer) => onOutput?.(chunk));
    if (options.stdin === undefined) await process.write(Buffer.from([END_OF_INPUT]));
    return process.exitCode;
  }

  private async endLeft(signal: AbortSignal): Promise<void> {
    while (this.leftMarkers[0] !== undefined) {
      await this.connect(signal);
      // What cannot be ended now must not run beside the next command: it fails like one whose connection is lost.
      if (!(await this.killMarked(this.leftMarkers[0])))
        throw new ConnectionLostError(
          "what an earlier command left running on the machine could not be ended",
        );
      this.leftMarkers.shift();
    }
  }

  /** Whether it could be done. */
  private async killMarked(marker: string): Promise<boolean> {
    const command = `for p in /proc/[0-9]*; do grep -qs 'KILN_STEP=${marker}' $p/environ && kill -9 \${p#/proc/}; done; true`;
    const signal = AbortSignal.timeout(KILL_MS);
    try {
      await this.run(await this.connect(signal), command, {}, { signal }, false);
      return true;
    } catch (error) {
      this.target.log.info(`ending what the step left running failed: ${(error as Error).message}`);
      return false;
    }
  }

  private machine(): Machine {
    const rate = {
      get: (): number | undefined => this.linkRate,
      set: (value: number | undefined): void => void (this.linkRate = value),
    };
    return {
      name: this.connector.where,
      get linkRate() {
        return rate.get();
      },
      set linkRate(value) {
        rate.set(value);
      },
      start: async (script, signal) => {
        try {
          return await (await this.connect(signal)).start(wrapScript(script), { signal });
        } catch (error) {
          if (error instanceof Error && /unable to exec/i.test(error.message))
            throw new MissingProgramError("shell", { cause: error });
          throw error;
        }
      },
      startSftp: async (signal) => (await this.connect(signal)).startSftp(signal),
      reconnect: (signal) => this.reconnect(signal),
      showProgress: (text) => this.target.log.progress(text),
    };
  }
}

/** What a shell exports later is not in the environment that others see of itself: the marker must be there from the start. */
function beginAnew(command: string): string {
  return wrapScript(command);
}
