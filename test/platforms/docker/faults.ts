/** What can go wrong at one call to the engine, for tests that try it at each. */
import type { DockerDriver } from "../../../src/platforms/docker/driver";

export class InjectedError extends Error {}

/** Runs instead of the call: may make it, refuse it, or both. */
type OnCall = (count: number, call: () => Promise<unknown>) => Promise<unknown>;

/** The same driver, with every call counted from 1 on. */
export function interceptCalls(driver: DockerDriver, onCall: OnCall): DockerDriver {
  let count = 0;
  return new Proxy(driver, {
    get(target, name) {
      const member = Reflect.get(target, name) as unknown;
      if (typeof member !== "function") return member;
      return (...args: unknown[]) =>
        onCall(++count, () => (member as (...all: unknown[]) => Promise<unknown>).apply(target, args));
    },
  });
}

/** A driver with something that goes wrong once, and whether it has. */
export interface Fault {
  driver: DockerDriver;
  isReached: boolean;
}

function faultAt(
  driver: DockerDriver,
  n: number,
  spoil: (call: () => Promise<unknown>) => Promise<unknown>,
): Fault {
  const fault = { driver, isReached: false };
  fault.driver = interceptCalls(driver, (count, call) => {
    if (count !== n) return call();
    fault.isReached = true;
    return spoil(call);
  });
  return fault;
}

/** The engine refuses call `n`, or does what it was asked and the answer is lost. */
export function failAt(driver: DockerDriver, n: number, isDone: boolean): Fault {
  return faultAt(driver, n, async (call) => {
    if (isDone) await call();
    throw new InjectedError(`call ${n} failed`);
  });
}

/** The user cancels just before call `n`, or while the engine does it. */
export function abortAt(
  driver: DockerDriver,
  n: number,
  isDone: boolean,
  controller: AbortController,
): Fault {
  return faultAt(driver, n, (call) => {
    if (!isDone) controller.abort(new InjectedError(`aborted before call ${n}`));
    const pending = call();
    controller.abort(new InjectedError(`aborted in call ${n}`));
    return pending;
  });
}

/** A process that dies at call `n`: it never hears of that one or a later one. */
export interface Death {
  driver: DockerDriver;
  happened: Promise<void>;
  /** Ends what still waits, after the test has seen what is left; nothing reaches the engine. */
  release(): void;
}

export function dieAt(driver: DockerDriver, n: number, isDone: boolean): Death {
  let tell = (): void => undefined;
  let release = (): void => undefined;
  const happened = new Promise<void>((resolve) => (tell = resolve));
  const released = new Promise<never>((_, reject) => (release = () => reject(new InjectedError("dead"))));
  released.catch(() => undefined); // heard by those who wait, if there are any
  const dying = interceptCalls(driver, async (count, call) => {
    if (count < n) return call();
    if (count === n && isDone) await call();
    tell();
    return released;
  });
  return { driver: dying, happened, release: () => release() };
}
