/**
 * What a backend whose thread has ended has left in the buffer pool. Runs in the supervisor, after the
 * backend's own handles have been looked at once: what it had tied to an I/O is the I/O's by then.
 */
import type { Slots } from '../shmem/slots.js';
import type { BufferIo } from './buffer-io.js';
import { DESCRIPTOR_SHIFT, DescriptorLayout, PIN_ONE } from './descriptor.js';
import { pinsOf } from './holdings.js';
import type { BufferRegion } from './pool.js';

/**
 * Gives up its claims, then its pins: a claim is only ever looked at by who has the buffer pinned, and a
 * buffer that nobody has pinned may become another block's. A claim that its thread had not yet tied to an
 * I/O is as one whose I/O failed: whoever waits for it looks again, and claims it.
 */
export function releaseBuffersOf(slots: Slots, dead: number, region: BufferRegion, bufferIo: BufferIo): void {
  const { words } = slots;
  const pins = pinsOf(region.holdings, dead);
  for (let word = 0; word * 32 < region.count; word++) {
    let left = words.get(pins + word);
    while (left !== 0) {
      const buffer = word * 32 + (31 - Math.clz32(left & -left));
      left &= left - 1;
      bufferIo.giveUpOf(dead, buffer);
      words.sub(region.descriptors + (buffer << DESCRIPTOR_SHIFT) + DescriptorLayout.at.state, PIN_ONE);
    }
    words.set(pins + word, 0);
  }
}
