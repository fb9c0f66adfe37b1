import type { Duplex } from "node:stream";
import {
  Client,
  type ClientChannel,
  type ConnectConfig,
  type PseudoTtyOptions,
  type SFTPWrapper,
} from "ssh2";
import { ConnectionLostError, describeError } from "../core/errors";
import { throwIfAborted } from "../core/retry";
import { createAuthHandler, listMethods, type SshCredentials } from "./ssh-authentication";
import { correctSignatures } from "./ssh-certificate";
import { ChannelSlots } from "./ssh-channels";
import { HopelessError, type HostKeyPin } from "./ssh-host-key";
import { RemoteProcess } from "./ssh-process";

/** An unanswered minute is a dead machine; a busy one, or one that is being saved, is silent for seconds. */
const LONGEST_SILENCE_MS = 60_000;
/** A round trip that was measured as longer is long, however busy this process was. */
const FAR_MS = 50;
/** Programs that want a terminal want a size; echo and changed line ends are for people only. */
const TERMINAL: PseudoTtyOptions & { modes: Record<string, number> } = {
  term: "xterm",
  rows: 40,
  cols: 80,
  modes: { ECHO: 0, OPOST: 0 },
};

export interface ConnectionSettings {
  /** For people: host and port. */
  where: string;
  /** Closes what the socket runs through, even if nobody answers. */
  hangUp: () => void;
  credentials: SshCredentials;
  pin: HostKeyPin;
  keepAliveMs: number;
  handshakeMs: number;
  ciphers?: readonly string[];
  keyExchanges?: readonly string[];
}

export interface StartOptions {
  signal: AbortSignal;
  /** Give the command a terminal. */
  pty?: boolean;
  /** Let the command use our agent. */
  agent?: boolean;
}

/** The machine did not accept who we say we are. */
export class AuthenticationError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "AuthenticationError";
  }
}

/** One authenticated connection, until it is lost or closed. */
export class SshConnection {
  private readonly slots = new ChannelSlots();
  private readonly lostListeners = new Set<(error: ConnectionLostError) => void>();
  private lastError: Error | undefined;
  private lost: ConnectionLostError | undefined;
  private refusesAgent = false;
  /** The quickest so far. */
  roundTripMs = Infinity;
  private isConfirmed = false;

  private constructor(
    readonly client: Client,
    private readonly socket: Duplex,
    private readonly hangUp: () => void,
    where: string,
  ) {
    client.on("error", (error) => (this.lastError = error));
    client.on("close", () => {
      const reason = this.lastError ? describeError(this.lastError) : "the machine closed it";
      this.lost = new ConnectionLostError(`the connection to ${where} was lost: ${reason}`, {
        cause: this.lastError,
      });
      for (const listener of [...this.lostListeners]) listener(this.lost);
    });
  }

  /** Speaks SSH on a connected socket, which is of no use any more if this rejects. */
  static async open(
    socket: Duplex,
    settings: ConnectionSettings,
    signal: AbortSignal,
  ): Promise<SshConnection> {
    throwIfAborted(signal);
    const client = new Client();
    const { where } = settings;
    let problem: Error | undefined;
    let lastAgentError: Error | undefined;
    const abort = (): void => void socket.destroy();
    signal.addEventListener("abort", abort);
    try {
      await new Promise<void>((resolve, reject) => {
        client.once("ready", resolve);
        client.on("error", (error) => {
          // Without its agent there may still be other ways in.
          if (error.level === "agent") lastAgentError = error;
          else reject(error);
        });
        client.once("close", () => reject(new Error("the connection was closed during the handshake")));
        if (settings.credentials.certified) client.once("handshake", () => correctSignatures(client));
        client.connect(describeConnection(socket, settings, (error) => (problem = error)));
      });
      client.removeAllListeners("error").removeAllListeners("close");
      return new SshConnection(client, socket, settings.hangUp, where);
    } catch (error) {
      client.removeAllListeners("error").on("error", () => undefined);
      socket.destroy();
      throwIfAborted(signal);
      if (problem) throw problem;
      if (/unsupported algorithm|no matching/i.test((error as Error).message))
        throw new HopelessError(`Connecting to ${where}: ${(error as Error).message}`, { cause: error });
      if ((error as { level?: string }).level === "client-authentication")
        throw new AuthenticationError(describeRefusal(settings, lastAgentError), { cause: error });
      throw error;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  get isAlive(): boolean {
    return this.lost === undefined;
  }

  /** Starts a command line in the user's shell; waits while too many run. */
  async start(command: string, options: StartOptions): Promise<RemoteProcess> {
    const [channel, giveBack] = await this.slots.use(options.signal, () => {
      void this.measureRoundTrip();
      return this.openExec(command, options);
    });
    const process = new RemoteProcess(channel, options.signal, this);
    process.exitCode.then(giveBack, giveBack);
    return process;
  }

  /** Starts the SFTP service of the machine. */
  async startSftp(signal: AbortSignal): Promise<SFTPWrapper> {
    const [sftp, giveBack] = await this.slots.use(signal, () =>
      this.ask<SFTPWrapper>((done) => this.client.sftp(done)),
    );
    sftp.once("close", giveBack);
    return sftp;
  }

  /** Opens a connection from the machine to what it can reach. */
  openTunnel(host: string, port: number): Promise<ClientChannel> {
    return this.ask((done) => this.client.forwardOut("127.0.0.1", 0, host, port, done));
  }

  /** Hears of the end of the connection, at once if that was before; returns how to stop listening. */
  onLost(listener: (error: ConnectionLostError) => void): () => void {
    if (this.lost) listener(this.lost);
    else this.lostListeners.add(listener);
    return () => this.lostListeners.delete(listener);
  }

  /** What is written meanwhile, a packet of 32 KB at a time, goes to the system at once: that is less work here and there. */
  writeTogether(write: () => void): void {
    this.socket.cork();
    try {
      write();
    } finally {
      this.socket.uncork();
    }
  }

  /** Ends it; also one that hangs. */
  async close(): Promise<void> {
    if (this.lost) return;
    const closed = new Promise<void>((resolve) => this.onLost(() => resolve()));
    this.client.end();
    this.hangUp();
    await closed;
  }

  private async openExec(command: string, options: StartOptions): Promise<ClientChannel> {
    const pty = options.pty ? TERMINAL : undefined;
    if (options.agent && !this.refusesAgent) {
      try {
        return await this.ask((done) =>
          this.client.exec(command, { pty, agentForward: true } as object, done),
        );
      } catch (error) {
        if (!/agent forwarding/.test((error as Error).message)) throw error;
        this.refusesAgent = true;
      }
    }
    return this.ask((done) => this.client.exec(command, { pty }, done));
  }

  /** What was measured while this process did something else may be too much: before much is sent, it waits once. */
  async confirmRoundTrip(): Promise<void> {
    if (this.isConfirmed || this.roundTripMs > FAR_MS) return;
    this.isConfirmed = true;
    await this.measureRoundTrip();
  }

  /** Asks for what every server refuses at once: to end a forwarding that there is not. */
  private async measureRoundTrip(): Promise<void> {
    const startedAt = performance.now();
    try {
      await this.ask((done) => this.client.unforwardIn("localhost", 0, () => done(undefined, undefined)));
      this.roundTripMs = Math.min(this.roundTripMs, performance.now() - startedAt);
    } catch {
      // Lost: whoever uses the connection is told.
    }
  }

  /** A request whose answer may never come, because the connection ends first. */
  private ask<T>(send: (done: (error: Error | undefined, value: T) => void) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const stopListening = this.onLost(reject);
      if (this.lost) return;
      try {
        send((error, value) => {
          if (error && !this.socket.destroyed) {
            stopListening();
            reject(error);
          } else if (!error) {
            stopListening();
            resolve(value);
          }
        });
      } catch (error) {
        // "Not connected": the end is near, and comes with its reason.
        if (!this.lost && !this.socket.destroyed && this.socket.writable) {
          stopListening();
          reject(error);
        }
      }
    });
  }
}

function describeConnection(
  socket: Duplex,
  settings: ConnectionSettings,
  onProblem: (error: Error) => void,
): ConnectConfig {
  const { credentials, pin, keepAliveMs } = settings;
  return {
    sock: socket,
    username: credentials.username,
    agent: credentials.agent,
    authHandler: createAuthHandler(listMethods(credentials)),
    readyTimeout: settings.handshakeMs,
    keepaliveInterval: keepAliveMs,
    keepaliveCountMax: Math.max(3, Math.ceil(LONGEST_SILENCE_MS / Math.max(keepAliveMs, 1))),
    hostVerifier: (key: Buffer) => {
      const problem = pin.check(key, settings.where);
      if (problem) onProblem(problem);
      return !problem;
    },
    algorithms: {
      ...(pin.algorithms && { serverHostKey: pin.algorithms as never }),
      ...(settings.ciphers && { cipher: settings.ciphers as never }),
      ...(settings.keyExchanges && { kex: settings.keyExchanges as never }),
    },
  };
}

function describeRefusal({ where, credentials }: ConnectionSettings, agentError: Error | undefined): string {
  const shown = [
    ...(credentials.agent ? [agentError ? `the agent (${agentError.message})` : "the agent's keys"] : []),
    ...(credentials.privateKeys.length > 0 ? ["a private key"] : []),
    ...(credentials.password === undefined ? [] : ["a password"]),
  ];
  const what = shown.length > 0 ? `it took none of ${shown.join(", ")}` : "there is neither key nor password";
  return `Authenticating at ${where} as ${credentials.username}: ${what}`;
}
