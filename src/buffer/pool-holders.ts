/** Who has a pool's buffers pinned: for messages, and for whoever must know that there is nothing to give. */
import { PgaioError } from '../base/errors.js';
import type { Slots } from '../shmem/slots.js';
import type { SharedWords } from '../shmem/words.js';
import { DESCRIPTOR_SHIFT, DescriptorLayout, PIN_MASK } from './descriptor.js';
import { Holding, holdingsOf } from './holdings.js';
import type { BufferRegion } from './region.js';

const NO_UNPINNED_BUFFERS = 'ERR_PGAIO_NO_UNPINNED_BUFFERS';

/** Whether the pool had no buffer to give: whoever has others in hand can go on with those. */
export function isOutOfBuffers(error: unknown): boolean {
  return error instanceof PgaioError && error.code === NO_UNPINNED_BUFFERS;
}

/** `own`: how many the caller has pinned. */
export function failAllPinned(words: SharedWords, region: BufferRegion, own: number): never {
  const { count, descriptors } = region;
  let pinned = 0;
  for (let buffer = 0; buffer < count; buffer++) {
    const state = words.get(descriptors + (buffer << DESCRIPTOR_SHIFT) + DescriptorLayout.at.state);
    if ((state & PIN_MASK) !== 0) pinned++;
  }
  throw new PgaioError(NO_UNPINNED_BUFFERS, 'no unpinned buffers available', {
    detail: `Of ${count} buffers ${pinned} are pinned: ${own} by this backend, the others by other backends or by I/O in flight.`,
    hint: 'Release buffers sooner, or create the instance with more sharedBuffers.',
  });
}

/** Other slots than `self` that have the buffer pinned, as far as that can be seen while they live. */
export function otherHolders(slots: Slots, region: BufferRegion, self: number, buffer: number): number[] {
  const { maxBackends } = slots.region;
  const others = Array.from({ length: maxBackends }, (_, slot) => slot).filter((slot) => slot !== self);
  return others.filter(
    (slot) => holdingsOf(slots.words, region.holdings, maxBackends, slot)[buffer] !== Holding.NONE,
  );
}
