/** Which I/O methods there are, and how a backend gets the operations of its instance's one. */
import type { IoMethodOps, MethodRecovery } from '../aio/method/method.js';
import { syncMethod } from '../aio/method/sync.js';
import { WorkerControl } from '../aio/method/worker/control.js';
import { WorkerMethod } from '../aio/method/worker/method.js';
import { runDequeued } from '../aio/method/worker/run.js';
import { MethodUnavailableError } from '../base/errors.js';
import { checkMethodName, type IoMethodName } from '../base/settings.js';
import type { ThreadParts } from './thread-parts.js';

const NO_IO_URING = 'this version of pgaio has no io_uring method yet';

/** The methods that an instance can be created with here, the preferred one first. */
export function supportedMethods(): IoMethodName[] {
  return ['worker', 'sync'];
}

/** Why a method is not available here, or null if it is. */
export function whyUnavailable(method: IoMethodName): string | null {
  return method === 'io_uring' ? NO_IO_URING : null;
}

/** An explicit choice is honoured or refused with the reason; `auto` says why it took what it took. */
export function chooseMethod(given: string): { name: IoMethodName; reason: string } {
  const name = checkMethodName(given);
  if (name === 'auto') return { name: 'worker', reason: NO_IO_URING };
  const reason = whyUnavailable(name);
  if (reason === null) return { name, reason: '' };
  throw new MethodUnavailableError(`ioMethod ${name} is not available: ${reason}`, {
    hint: `Use ${supportedMethods().join(' or ')}, or 'auto'.`,
  });
}

export function methodOps(parts: ThreadParts): IoMethodOps {
  const { settings } = parts.memory.handle;
  switch (settings.ioMethod) {
    case 'sync':
      return syncMethod.initBackend(parts.thread, 0);
    case 'worker':
      return new WorkerMethod(parts.thread, new WorkerControl(parts.memory.slots, parts.memory.plan.workers));
    case 'io_uring':
      throw new MethodUnavailableError(NO_IO_URING);
  }
}

/** For the supervisor: what the method does for backends whose thread has ended. */
export function methodRecovery(parts: ThreadParts): MethodRecovery {
  const { thread, memory } = parts;
  if (memory.handle.settings.ioMethod === 'worker') {
    return new WorkerMethod(thread, new WorkerControl(memory.slots, memory.plan.workers));
  }
  // Nobody else runs what was its issuer's to run.
  return { submitAgain: (io, generation) => void runDequeued(thread, io, generation), waitOne: null };
}
