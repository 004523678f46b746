/**
 * What happens to buffers when a write of their pages is staged and completed. PostgreSQL has no such callback yet; its
 * names suggest PGAIO_HCB_SHARED_BUFFER_WRITEV. The handle's data are the buffers, in the order of their blocks; a mark
 * says whether the issuer has the buffer pinned itself. The pages that are written are copies in I/O memory, which
 * the issuer gives back when it reclaims the handle.
 */
import type { AioCallback } from '../aio/callback.js';
import type { IoHandle } from '../aio/handle.js';
import { ResultStatus, type AioResult } from '../aio/result.js';
import type { IoMemory } from '../shmem/io-memory.js';
import type { SyncRequests } from '../smgr/sync-requests.js';
import type { BufferIo } from './buffer-io.js';
import { bufferOfWord } from './buffer-read.js';

/** In a handle's data word, beside the buffer's number. */
export const PINNED_BY_ISSUER = 0x100_0000;

export interface BufferWriteParts {
  readonly bufferIo: BufferIo;
  readonly syncRequests: SyncRequests;
  /** Of the backend in this thread, where the copies lie. */
  readonly bounces: () => IoMemory;
}

export function sharedBufferWritev({ bufferIo, syncRequests, bounces }: BufferWriteParts): AioCallback {
  return {
    name: 'shared_buffer_writev',
    stage: (io) => {
      attachWrites(io, bufferIo);
    },
    completeShared: (io, result) => {
      // Whoever finds a buffer clean must find the request, so this comes first. A write that failed may have written.
      syncRequests.written(io);
      endWrites(io, result, bufferIo);
    },
    completeLocal: (io) => {
      bounces().releaseWhole(io.iovOffset(0));
    },
  };
}

/** The same for private buffers, all in the issuer; nothing of theirs is ever synchronized. */
export function localBufferWritev(bufferIo: () => BufferIo, bounces: () => IoMemory): AioCallback {
  return {
    name: 'local_buffer_writev',
    stage: (io) => {
      attachWrites(io, bufferIo());
    },
    completeLocal: (io, result) => {
      endWrites(io, result, bufferIo());
      bounces().releaseWhole(io.iovOffset(0));
    },
  };
}

function attachWrites(io: IoHandle, bufferIo: BufferIo): void {
  const { index, generation } = io;
  const count = io.dataCount;
  for (let at = 0; at < count; at++) {
    const word = io.dataWord(at);
    bufferIo.attachWrite(bufferOfWord(word), index, generation, (word & PINNED_BY_ISSUER) !== 0);
  }
}

/** After a death this may run again: a buffer that is not this I/O's any more is left alone. */
function endWrites(io: IoHandle, result: AioResult, bufferIo: BufferIo): void {
  const { index, generation } = io;
  const count = io.dataCount;
  const written = result.status === ResultStatus.ERROR ? 0 : result.value;
  for (let at = 0; at < count; at++)
    bufferIo.terminateWrite(bufferOfWord(io.dataWord(at)), index, generation, at < written);
}
