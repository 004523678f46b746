/**
 * What happens to private buffers when a read of them is staged and reclaimed: PostgreSQL's
 * PGAIO_HCB_LOCAL_BUFFER_READV. The same as for shared buffers, but all of it in the issuer: the pages are judged, and
 * the buffers ended, when it reclaims the handle, whichever thread took the kernel's answer.
 */
import type { AioCallback } from '../aio/callback.js';
import { CallbackId } from '../aio/ids.js';
import { attachBuffers, BufferRead, type BufferReadParts } from './buffer-read.js';
import { reportDamage } from './page-damage.js';
import type { PrivatePool } from './private-pool.js';

/** `privatePool`: the issuer's, which exists once it has started such a read. `memory`: the number of its pages. */
export function localBufferReadv(
  privatePool: () => PrivatePool,
  memory: number,
  parts: Pick<BufferReadParts, 'damageLog' | 'checksumFailures'>,
): AioCallback {
  let read: BufferRead | null = null;
  const makeRead = (): BufferRead => {
    const { bufferIo, kernel, memory: pages } = privatePool();
    const memories = [];
    memories[memory] = { kernel, bytes: new Uint8Array(pages.buffer) };
    return new BufferRead({ ...parts, bufferIo, memories }, CallbackId.LOCAL_BUFFER_READV);
  };
  return {
    name: 'local_buffer_readv',
    stage: (io) => {
      attachBuffers(io, privatePool().bufferIo);
    },
    completeLocal: (io, result, flags) => {
      read ??= makeRead();
      read.complete(io, result, flags);
      read.countFailures(io, result);
    },
    report: reportDamage,
  };
}
