/** Which I/O methods there are, and how a backend gets the operations of its instance's one. */
import type { IoMethodOps } from '../aio/method/method.js';
import { IoUringMethod } from '../aio/method/io-uring/method.js';
import { Rings } from '../aio/method/io-uring/rings.js';
import { syncMethod } from '../aio/method/sync.js';
import { WorkerControl } from '../aio/method/worker/control.js';
import { WorkerMethod } from '../aio/method/worker/method.js';
import { MethodUnavailableError } from '../base/errors.js';
import { checkMethodName, type IoMethodName } from '../base/settings.js';
import { loadAddon, whyNoAddon } from '../native/addon.js';
import type { ThreadParts } from './thread-parts.js';

/** The methods that an instance can be created with here, the preferred one first. */
export function supportedMethods(): IoMethodName[] {
  return loadAddon() === null ? ['worker', 'sync'] : ['io_uring', 'worker', 'sync'];
}

/** Why a method is not available here, or null if it is. */
export function whyUnavailable(method: IoMethodName): string | null {
  return method === 'io_uring' && loadAddon() === null ? whyNoAddon() : null;
}

/** An explicit choice is honoured or refused with the reason; `auto` says why it took what it took. */
export function chooseMethod(given: string): { name: IoMethodName; reason: string } {
  const name = checkMethodName(given);
  if (name === 'auto') {
    const lacking = whyUnavailable('io_uring');
    return lacking === null
      ? { name: 'io_uring', reason: 'io_uring works here' }
      : { name: 'worker', reason: lacking };
  }
  const reason = whyUnavailable(name);
  if (reason === null) return { name, reason: '' };
  throw new MethodUnavailableError(`ioMethod ${name} is not available: ${reason}`, {
    hint: `Use ${supportedMethods().join(' or ')}, or 'auto'.`,
  });
}

/** `onReady`: what tasks of this thread wait for may be over. */
export function methodOps(parts: ThreadParts, onReady: () => void): IoMethodOps {
  const { slots, plan, native } = parts.memory;
  const { settings } = parts.memory.handle;
  switch (settings.ioMethod) {
    case 'sync':
      return syncMethod.initBackend(parts.thread, 0);
    case 'worker':
      return new WorkerMethod(parts.thread, new WorkerControl(slots, plan.workers));
    case 'io_uring':
      if (native === null)
        throw new MethodUnavailableError(`ioMethod io_uring is not available: ${whyNoAddon()}`);
      return new IoUringMethod(parts.thread, new Rings(slots, plan.rings), native, onReady);
  }
}
