/** A buffer for a block whose page is about to be written over as a whole: PostgreSQL's RBM_ZERO_AND_LOCK, without the lock. */
import type { Scope } from '../aio/scope.js';
import { BLOCK_SIZE } from '../base/settings.js';
import type { BufferManager } from '../buffer/buffer-manager.js';
import { Claim } from '../buffer/buffer-io.js';
import { DIRTY_VICTIMS } from '../buffer/pool.js';
import { PENDING, type Step } from '../shmem/wait.js';
import type { Fork } from '../smgr/relation.js';
import type { SmgrRelation } from '../smgr/smgr.js';

/**
 * Step: pins the buffer; its page is zero unless it was in the pool, and nothing is read, so it does not matter whether
 * the block in the file is torn. The block must exist.
 */
export function overwriting(
  buffers: BufferManager,
  relation: SmgrRelation,
  fork: Fork,
  block: number,
  scope: Scope,
): Step<number> {
  const { pool, bufferIo, aio } = buffers;
  const { tag } = buffers.reader(relation, fork);
  let buffer = -1;
  let before: Step<unknown> | null = null;
  return () => {
    for (;;) {
      if (before !== null && before() === PENDING) return PENDING;
      before = null;
      if (buffer < 0) {
        const pinned = pool.pinBlock(tag, block | 0, scope);
        if (pinned === DIRTY_VICTIMS) {
          before = buffers.cleaningVictims();
          continue;
        }
        buffer = pinned;
      }
      const claim = bufferIo.claim(buffer);
      if (claim === Claim.ALREADY_DONE) return buffer;
      if (claim === Claim.READY) {
        buffers.page(buffer).fill(0, 0, BLOCK_SIZE);
        bufferIo.endAsValid(buffer);
        return buffer;
      }
      const { hasReference, ioHandle, ioGeneration } = bufferIo;
      const claimed = buffer;
      before = hasReference
        ? () => aio.waitFor(ioHandle, ioGeneration)
        : () => bufferIo.waitForClaim(aio.waits, claimed);
    }
  };
}
