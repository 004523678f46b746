/** Which I/O methods there are, and how a backend gets the operations of its instance's one. */
import type { IoMethodOps, MethodRecovery } from '../aio/method/method.js';
import { IoUringMethod } from '../aio/method/io-uring/method.js';
import { RingRecovery } from '../aio/method/io-uring/recovery.js';
import { Rings } from '../aio/method/io-uring/rings.js';
import { syncMethod } from '../aio/method/sync.js';
import { WorkerControl } from '../aio/method/worker/control.js';
import { WorkerMethod } from '../aio/method/worker/method.js';
import { runDequeued } from '../aio/reopened.js';
import { fail } from '../base/assert.js';
import type { RegisteredMemories } from '../native/registered-memories.js';
import { MethodUnavailableError } from '../base/errors.js';
import { checkMethodName, type IoMethodName } from '../base/settings.js';
import { probeIoUring, type IoUringSupport } from '../native/io-uring-support.js';
import type { ThreadParts } from './thread-parts.js';

export interface MethodChoice {
  readonly name: IoMethodName;
  /** Why this one: said by `auto`, empty for an explicit choice. */
  readonly reason: string;
}

/** The methods that an instance can be created with here, the preferred one first. */
export function supportedMethods(): IoMethodName[] {
  return probeIoUring().available ? ['io_uring', 'worker', 'sync'] : ['worker', 'sync'];
}

/** An explicit choice is honoured or refused with the reason; `auto` says why it took what it took. */
export function chooseMethod(given: string): MethodChoice {
  const name = checkMethodName(given);
  if (name !== 'auto' && name !== 'io_uring') return { name, reason: '' };
  const support = probeIoUring();
  if (name === 'auto') return autoMethod(support);
  if (support.available) return { name, reason: '' };
  throw new MethodUnavailableError(`ioMethod io_uring is not available: ${support.message}`, {
    hint: support.hint,
  });
}

export function autoMethod(support: IoUringSupport): MethodChoice {
  if (support.available) return { name: 'io_uring', reason: 'it works here' };
  return { name: 'worker', reason: support.message };
}

/** `onReady`: what tasks of this thread wait for may be over. */
export function methodOps(parts: ThreadParts, onReady: () => void): IoMethodOps {
  const { slots, plan, native, handle } = parts.memory;
  switch (handle.settings.ioMethod) {
    case 'sync':
      return { ...syncMethod }; // a backend's own, as the others'
    case 'worker':
      return new WorkerMethod(parts.thread, new WorkerControl(slots, plan.workers));
    case 'io_uring':
      return new IoUringMethod(parts.thread, new Rings(slots, plan.rings), needed(native), onReady);
  }
}

/** For the supervisor: what the method does for backends whose thread has ended. */
export function methodRecovery(parts: ThreadParts): MethodRecovery {
  const { thread, memory } = parts;
  const { slots, plan } = memory;
  switch (memory.handle.settings.ioMethod) {
    case 'sync': // nobody else runs what was its issuer's to run
      return { submitAgain: (io, generation) => void runDequeued(thread, io, generation), waitOne: null };
    case 'worker':
      return new WorkerMethod(thread, new WorkerControl(slots, plan.workers));
    case 'io_uring':
      return new RingRecovery(thread, new Rings(slots, plan.rings), needed(memory.native).use());
  }
}

function needed(native: RegisteredMemories | null): RegisteredMemories {
  return native ?? fail('this thread has no addon, but the creator had: io_uring cannot be used');
}
