/**
 * What happens to shared buffers when a read of them is staged and completed: PostgreSQL's
 * PGAIO_HCB_SHARED_BUFFER_READV. The buffers are ended in whichever thread completes; checksum failures are counted by
 * the issuer.
 */
import type { AioCallback } from '../aio/callback.js';
import { CallbackId } from '../aio/ids.js';
import { BufferRead, attachBuffers, type BufferReadParts } from './buffer-read.js';
import { reportDamage } from './page-damage.js';

export function sharedBufferReadv(parts: BufferReadParts): AioCallback {
  const read = new BufferRead(parts, CallbackId.SHARED_BUFFER_READV);
  return {
    name: 'shared_buffer_readv',
    stage: (io) => {
      attachBuffers(io, parts.bufferIo);
    },
    completeShared: (io, result, flags) => {
      read.complete(io, result, flags);
    },
    completeLocal: (io, result) => {
      read.countFailures(io, result);
    },
    report: reportDamage,
  };
}
