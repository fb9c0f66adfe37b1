/** What can go wrong at one call to QEMU, to a machine that runs in it or to what runs there. */
import type { QemuDriver } from "../../../src/platforms/qemu/driver";

export class InjectedError extends Error {}

type Call = () => Promise<unknown>;
/** Runs instead of the call: may make it, refuse it, or both. */
type OnCall = (call: Call, name: string) => Promise<unknown>;

/** Answers with calls of their own. */
const MAKERS = new Set<string | symbol>(["startMachine", "connect"]);

function intercept<T extends object>(target: T, onCall: OnCall): T {
  return new Proxy(target, {
    get(_, name) {
      const member = Reflect.get(target, name, target) as unknown;
      if (typeof member !== "function") return member;
      const call = async (args: unknown[]): Promise<unknown> => {
        const answer = await (member as (...all: unknown[]) => unknown).apply(target, args);
        return MAKERS.has(name) ? intercept(answer as object, onCall) : answer;
      };
      return (...args: unknown[]) => onCall(() => call(args), String(name));
    },
  });
}

/** A driver with something that goes wrong once. */
export interface Fault {
  driver: QemuDriver;
  /** The name of the call that it happened at; "" as long as it has not. */
  at: string;
}

function faultAt(driver: QemuDriver, n: number, spoil: (call: Call) => Promise<unknown>): Fault {
  let count = 0;
  const fault: Fault = { driver, at: "" };
  fault.driver = intercept(driver, (call, name) => {
    if (++count !== n) return call();
    fault.at = name;
    return spoil(call);
  });
  return fault;
}

/** Call `n` is refused, or done and the answer is lost. */
export function failAt(driver: QemuDriver, n: number, isDone: boolean): Fault {
  return faultAt(driver, n, async (call) => {
    if (isDone) await call();
    throw new InjectedError(`call ${n} failed`);
  });
}

/** The user cancels just before call `n`, or while it is done. */
export function abortAt(driver: QemuDriver, n: number, isDone: boolean, controller: AbortController): Fault {
  return faultAt(driver, n, (call) => {
    if (!isDone) controller.abort();
    const pending = call();
    controller.abort();
    return pending;
  });
}

/** A process that dies at call `n`: it never hears of that one or a later one. */
export interface Death extends Fault {
  happened: Promise<void>;
  /** Ends what still waits, after the test has seen what is left. */
  release(): void;
}

export function dieAt(driver: QemuDriver, n: number, isDone: boolean): Death {
  let tell = (): void => undefined;
  let release = (): void => undefined;
  const happened = new Promise<void>((resolve) => (tell = resolve));
  const released = new Promise<never>((_, reject) => (release = () => reject(new InjectedError("dead"))));
  released.catch(() => undefined); // heard by those who wait, if there are any
  let count = 0;
  // The last call may need others.
  let isInLast = false;
  const death: Death = { driver, at: "", happened, release: () => release() };
  death.driver = intercept(driver, async (call, name) => {
    if (isInLast || ++count < n) return call();
    if (count === n) {
      death.at = name;
      isInLast = isDone;
      if (isDone) await call();
      isInLast = false;
      tell();
    }
    return released;
  });
  return death;
}
