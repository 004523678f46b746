/**
 * What a backend whose thread has ended has left in the buffer pool. Runs in the supervisor, after the
 * backend's own handles have been looked at once: what it had tied to an I/O is the I/O's by then.
 */
import type { Slots } from '../shmem/slots.js';
import type { BufferIo } from './buffer-io.js';
import { ContentLocks } from './content-lock.js';
import { DESCRIPTOR_SHIFT, DescriptorLayout, PIN_ONE } from './descriptor.js';
import { Holding, holdingsOf } from './holdings.js';
import type { BufferRegion } from './region.js';

/**
 * Gives up its content locks, its claims, then its pins: a claim is only ever looked at by who has the buffer pinned, and a
 * buffer that nobody has pinned may become another block's. A claim that its thread had not yet tied to an
 * I/O is as one whose I/O failed: whoever waits for it looks again, and claims it.
 */
export function releaseBuffersOf(slots: Slots, dead: number, region: BufferRegion, bufferIo: BufferIo): void {
  const { words } = slots;
  ContentLocks.releaseOf(slots, dead, region);
  const holdings = holdingsOf(words, region.holdings, slots.region.maxBackends, dead);
  for (let buffer = 0; buffer < region.count; buffer++) {
    if (holdings[buffer] === Holding.NONE) continue;
    if (holdings[buffer] === Holding.CLAIMED) bufferIo.giveUpFrom(holdings, buffer);
    words.sub(region.descriptors + (buffer << DESCRIPTOR_SHIFT) + DescriptorLayout.at.state, PIN_ONE);
    holdings[buffer] = Holding.NONE;
  }
}
