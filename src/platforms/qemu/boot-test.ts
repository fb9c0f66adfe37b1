/** Boots a finished image, throws away what it writes, and runs commands in it. */
import type { BuildContext } from "../../core/context";
import { parseDuration } from "../../core/duration";
import { describeError } from "../../core/errors";
import { throwIfAborted, withDeadline } from "../../core/retry";
import { BuildMachine, type MachineSetup } from "./machine";
import type { BootTestOptions } from "./options";
import { nameMachine } from "./run-folder";

const DEFAULT_TIMEOUT = "5m";

export async function testImage(
  context: BuildContext,
  setup: MachineSetup,
  { commands, timeout = DEFAULT_TIMEOUT }: BootTestOptions,
): Promise<void> {
  // Nothing of how it was installed: it must come up by itself.
  const options = {
    ...setup.options,
    bootCommand: undefined, httpContent: undefined, httpDirectory: undefined, cdFiles: undefined,
    cdContent: undefined, floppyFiles: undefined, floppyContent: undefined, diskSize: undefined,
    additionalDisks: undefined, sshHostKey: undefined,
  }; // prettier-ignore
  const name = `${nameMachine(context.buildId)}-test`;
  const what = `The boot test (timeout ${timeout})`;
  let screen = "";
  const boot = async (signal: AbortSignal): Promise<void> => {
    const limited = { ...context, signal };
    const machine = new BuildMachine(limited, { ...setup, options }, name);
    try {
      await machine.boot();
      for (const command of commands) await run(limited, machine, command);
    } catch (error) {
      // What has an end of its own shows it itself.
      if (signal.aborted && !context.signal.aborted) screen = `\n${await machine.describeConsole()}`;
      throw error;
    } finally {
      await machine.close();
    }
  };
  try {
    await withDeadline(what, parseDuration(timeout), context.signal, boot);
  } catch (error) {
    throwIfAborted(context.signal);
    throw new Error(`Testing the image: ${describeError(error)}. It is not used${screen}`, { cause: error });
  }
}

async function run(context: BuildContext, machine: BuildMachine, command: string): Promise<void> {
  const { log, signal } = context;
  log.info(`testing: ${command}`);
  log.startCommand();
  const onOutput = (chunk: Buffer): void => log.output(chunk);
  const { exitCode } = await machine.communicator.exec(command, { signal, onOutput });
  log.endCommand();
  if (exitCode === 0) return;
  const tail = log.tail().join("\n");
  throw new Error(`\`${command}\` ended with exit code ${exitCode}${tail === "" ? "" : `:\n${tail}\n`}`);
}
