/** Waiting for what no event tells: the event loop turns until it is so. The test's time-out bounds it. */
import type { Instance } from '../src/instance/instance.js';
import { SlotStatus } from '../src/shmem/slots.js';

/** `unless`: what must not end before. */
export async function untilTrue(condition: () => boolean, unless?: Promise<unknown>): Promise<void> {
  let ended = false;
  const end = (): void => {
    ended = true;
  };
  unless?.then(end, end);
  while (!condition()) {
    if (ended) {
      await unless; // throws what went wrong
      throw new Error('it ended before the condition held');
    }
    await new Promise(setImmediate);
  }
}

/** Until so many backends are left; those that have ended and are not given back whole count, unless `attached`. */
export async function untilBackends(instance: Instance, count: number, which?: 'attached'): Promise<void> {
  const { slots, header } = instance.backend.parts.memory;
  await untilTrue(() => {
    header.checkCrashed();
    let found = 0;
    for (let slot = 0; slot < slots.region.maxBackends; slot++) {
      const status = slots.status(slot);
      if (which === undefined ? status !== SlotStatus.FREE : status === SlotStatus.ATTACHED) found++;
    }
    return found === count;
  });
}
