/** Messages to Pulumi's engine: kept under the resource, or live in its row. Printing would go to the stack's row instead. */
import { createRequire } from "node:module";

export interface ResourceLog {
  /** Kept, under the resource. */
  info(text: string): void;
  warn(text: string): void;
  /** The same text is said once per run. */
  warnOnce(text: string): void;
  /** Live, in the resource's row; gone at the end. */
  status(text: string): void;
}

type Severity = "INFO" | "WARNING";
type Send = (urn: string, severity: Severity, text: string, ephemeral: boolean) => void;

let send: Send | undefined;
/** One after the other: messages that overlap would be shown in any order. */
let sent: Promise<void> = Promise.resolve();
const said = new Set<string>();

export function logOf(urn: string): ResourceLog {
  const write = (severity: Severity, text: string, ephemeral = false): void =>
    (send ??= openEngine())(urn, severity, text, ephemeral);
  return {
    info: (text) => write("INFO", text),
    warn: (text) => write("WARNING", text),
    warnOnce(text) {
      if (said.has(text)) return;
      said.add(text);
      write("WARNING", text);
    },
    status: (text) => write("INFO", text, true),
  };
}

/** Resolves when the engine has received all messages: a message after the answer would come too late. */
export function flushLog(): Promise<void> {
  return sent;
}

interface EngineProto {
  LogRequest: new () => Record<string, (value: unknown) => void>;
  LogSeverity: Record<Severity, number>;
}

interface EngineClient {
  log(request: unknown, callback: (error: Error | null) => void): void;
}

/** The engine listens at the last `host:port` of the command line; its protocol is in the SDK that runs this process. */
function openEngine(): Send {
  const address = process.argv.filter((argument) => /^[\w.[\]:-]+:\d+$/.test(argument)).at(-1);
  const host = process.argv[1];
  // Outside of the engine (a test, a script) there is nobody to tell.
  if (!address || !host) return () => undefined;
  const requireFromSdk = createRequire(host);
  const grpc = requireFromSdk("@grpc/grpc-js") as { credentials: { createInsecure(): unknown } };
  const proto = requireFromSdk("@pulumi/pulumi/proto/engine_pb") as EngineProto;
  const { EngineClient: Client } = requireFromSdk("@pulumi/pulumi/proto/engine_grpc_pb") as {
    EngineClient: new (address: string, credentials: unknown) => EngineClient;
  };
  const client = new Client(address, grpc.credentials.createInsecure());
  return (urn, severity, text, ephemeral) => {
    const request = new proto.LogRequest();
    request["setUrn"]?.(urn);
    request["setSeverity"]?.(proto.LogSeverity[severity]);
    request["setMessage"]?.(text);
    request["setEphemeral"]?.(ephemeral);
    // An engine that is gone cannot be told that it is: its error is not looked at.
    sent = sent.then(() => new Promise((resolve) => client.log(request, () => resolve())));
  };
}
