import { resolve } from "node:path";
import type { Duplex } from "node:stream";
import { formatDuration, parseDuration, type Duration } from "../core/duration";
import { describeError, TimeoutError } from "../core/errors";
import { LONGEST_TIMER_MS, sleep, throwIfAborted, withDeadline } from "../core/retry";
import { readCredentials, type SshCredentials } from "./ssh-authentication";
import { AuthenticationError, SshConnection } from "./ssh-connection";
import { HopelessError, HostKeyPin } from "./ssh-host-key";
import type { SshOptions } from "./ssh-options";
import { dial } from "./ssh-socket";
import { Tries } from "./ssh-tries";
import { openRemoteTunnels, parseTunnel } from "./ssh-tunnels";

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1000;
/** A machine that boots may take a connection long before it answers; a busy one needs time for the handshake. */
const FIRST_HANDSHAKE_MS = 15_000;
const LONGEST_HANDSHAKE_MS = 60_000;

export interface SshAddress {
  host: string;
  port: number;
}

export interface SshTarget {
  /** Asked anew before each try: an address may come late, or change with a reboot. */
  findAddress: (signal: AbortSignal) => Promise<SshAddress>;
  /** Text of the private key that was made for this build. */
  privateKey?: string;
  /** The program's folder: relative paths in the options start here. */
  cwd: string;
}

/** Makes connections to one machine, as often as one is needed; host keys stay pinned between them. */
export class SshConnector {
  readonly pin: HostKeyPin;
  /** Host and port of the last try, for people. */
  where = "the machine";
  private readonly bastionPin: HostKeyPin;

  private constructor(
    private readonly options: SshOptions,
    private readonly target: SshTarget,
    private readonly credentials: SshCredentials,
    private readonly bastionCredentials: SshCredentials | undefined,
  ) {
    this.pin = new HostKeyPin(options.sshHostKey);
    this.bastionPin = new HostKeyPin(options.sshBastionHostKey);
  }

  static async create(options: SshOptions, target: SshTarget): Promise<SshConnector> {
    const toPath = (file: string): string => resolve(target.cwd, file);
    const credentials = await readCredentials(
      {
        username: options.sshUsername,
        password: options.sshPassword,
        privateKeyFile: options.sshPrivateKeyFile,
        certificateFile: options.sshCertificateFile,
        agentAuth: options.sshAgentAuth,
      },
      toPath,
      target.privateKey,
    );
    const bastion = options.sshBastionHost
      ? await readCredentials(
          {
            username: options.sshBastionUsername ?? options.sshUsername,
            password: options.sshBastionPassword,
            privateKeyFile: options.sshBastionPrivateKeyFile ?? options.sshPrivateKeyFile,
            certificateFile: options.sshBastionCertificateFile,
            agentAuth: options.sshBastionAgentAuth,
          },
          toPath,
        )
      : undefined;
    return new SshConnector(options, target, credentials, bastion);
  }

  /** Tries until the machine lets us in, or `sshTimeout` or `sshHandshakeAttempts` is reached. */
  async connect(signal: AbortSignal): Promise<SshConnection> {
    const connection = await this.retry(signal);
    const pause = this.options.pauseBeforeConnecting;
    if (pause === undefined) return connection;
    await connection.close();
    await sleep(parseDuration(pause), signal);
    return this.retry(signal);
  }

  /** As `connect`, for a machine that was there before: `pauseBeforeConnecting` is over. */
  async retry(signal: AbortSignal): Promise<SshConnection> {
    const { timeoutMs, mostRefusals } = readLimits(this.options);
    const tries = new Tries(this.options.sshUsername);
    const startedAt = Date.now();
    const isTimeout = (error: unknown): boolean => error instanceof TimeoutError && !signal.aborted;
    try {
      return await withDeadline("SSH", timeoutMs, signal, (inner) =>
        this.tryUntil(mostRefusals, tries, inner),
      );
    } catch (error) {
      if (!isTimeout(error)) throw error;
      throw tries.describe(Date.now() - startedAt);
    }
  }

  private async tryUntil(mostRefusals: number, tries: Tries, signal: AbortSignal): Promise<SshConnection> {
    let pauseMs = FIRST_PAUSE_MS;
    let handshakeMs = FIRST_HANDSHAKE_MS;
    for (let refusals = 0; ;) {
      try {
        return await this.tryOnce(tries, handshakeMs, signal);
      } catch (error) {
        throwIfAborted(signal);
        tries.last = error;
        if (error instanceof HopelessError) throw error;
        if (error instanceof AuthenticationError && ++refusals >= mostRefusals)
          throw tries.describeRefusals(refusals);
        if (/timed out while waiting for handshake/i.test(describeError(error)))
          handshakeMs = Math.min(LONGEST_HANDSHAKE_MS, handshakeMs * 2);
      }
      await sleep(pauseMs, signal);
      pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 1.5);
    }
  }

  private async tryOnce(tries: Tries, handshakeMs: number, signal: AbortSignal): Promise<SshConnection> {
    const { options } = this;
    tries.count++;
    const { host, port } = await this.target.findAddress(signal);
    this.where = tries.where = `${host}:${port}`;
    const { socket, close } = await this.openSocket(host, port, handshakeMs, signal);
    try {
      const connection = await SshConnection.open(
        socket,
        {
          ...this.settings(handshakeMs),
          where: tries.where,
          hangUp: close,
          credentials: this.credentials,
          pin: this.pin,
        },
        signal,
      );
      connection.onLost(close);
      // What a machine cannot give now, it will not give later.
      await openRemoteTunnels(connection, (options.sshRemoteTunnels ?? []).map(parseTunnel));
      return connection;
    } catch (error) {
      close();
      throw error;
    }
  }

  private async openSocket(
    host: string,
    port: number,
    handshakeMs: number,
    signal: AbortSignal,
  ): Promise<{ socket: Duplex; close: () => void }> {
    const { options, bastionCredentials } = this;
    if (!bastionCredentials || options.sshBastionHost === undefined) {
      const socket = await dial(host, port, signal, readProxy(options));
      const idleMs = options.sshReadWriteTimeout && readTimer(options.sshReadWriteTimeout);
      if (idleMs)
        socket.setTimeout(idleMs, () =>
          socket.destroy(
            new Error(`nothing came or went for ${formatDuration(idleMs)} (\`sshReadWriteTimeout\`)`),
          ),
        );
      return { socket, close: () => socket.destroy() };
    }
    const bastionPort = options.sshBastionPort ?? 22;
    const where = `the bastion ${options.sshBastionHost}:${bastionPort}`;
    const outer = await dial(options.sshBastionHost, bastionPort, signal);
    const close = (): void => void outer.destroy();
    const bastion = await SshConnection.open(
      outer,
      {
        ...this.settings(handshakeMs),
        where,
        hangUp: close,
        credentials: bastionCredentials,
        pin: this.bastionPin,
      },
      signal,
    );
    try {
      return { socket: await bastion.openTunnel(host, port), close };
    } catch (error) {
      close();
      throw new Error(`${where} cannot reach it: ${describeError(error)}`, { cause: error });
    }
  }

  private settings(handshakeMs: number): {
    keepAliveMs: number;
    handshakeMs: number;
    ciphers?: readonly string[];
    keyExchanges?: readonly string[];
  } {
    const { options } = this;
    return {
      keepAliveMs: readTimer(options.sshKeepAliveInterval ?? "5s"),
      handshakeMs,
      ciphers: options.sshCiphers,
      keyExchanges: options.sshKeyExchangeAlgorithms,
    };
  }
}

/** For timers of a socket and of ssh2: no connection of a build lives longer than the longest one. */
function readTimer(text: Duration): number {
  return Math.min(LONGEST_TIMER_MS, parseDuration(text));
}

/** Packer's rule: both limits have a default only if neither is set. */
function readLimits({ sshTimeout, sshHandshakeAttempts }: SshOptions): {
  timeoutMs: number | undefined;
  mostRefusals: number;
} {
  if (sshTimeout === undefined && sshHandshakeAttempts === undefined)
    return { timeoutMs: parseDuration("5m"), mostRefusals: 10 };
  return {
    timeoutMs: sshTimeout === undefined ? undefined : parseDuration(sshTimeout),
    mostRefusals: sshHandshakeAttempts ?? Infinity,
  };
}

function readProxy(options: SshOptions): Parameters<typeof dial>[3] {
  if (options.sshProxyHost === undefined) return undefined;
  return {
    host: options.sshProxyHost,
    port: options.sshProxyPort ?? 1080,
    username: options.sshProxyUsername,
    password: options.sshProxyPassword,
  };
}
