/**
 * What happens to shared buffers when a read of them is staged and completed: PostgreSQL's
 * PGAIO_HCB_SHARED_BUFFER_READV. The handle's data are the buffers, in the order of their blocks.
 *
 * Completion may run in any thread, and again after the death of the thread in which it ran. What a page
 * turned out to be is therefore marked in the handle's data before its buffer is ended: a buffer that is
 * not this I/O's any more was good, unless its mark says otherwise.
 */
import type { AioCallback } from '../aio/callback.js';
import type { IoHandle } from '../aio/handle.js';
import { CallbackId } from '../aio/ids.js';
import { ResultStatus, type AioResult, type AioReturn } from '../aio/result.js';
import { InvalidPageError } from '../base/errors.js';
import { BLOCK_SIZE } from '../base/settings.js';
import type { PageKernel } from '../page/page-kernel.js';
import { SmgrWord } from '../smgr/smgr-target.js';
import type { BufferIo } from './buffer-io.js';

/** The callback's data: how to judge the pages. */
export const ReadFlag = { NO_CHECKSUMS: 1 } as const;

const BUFFER_MASK = 0xff_ffff;
const MARK_INVALID = 1 << 24;

/** Buffer number of a handle's data word. */
export function bufferOfWord(word: number): number {
  return word & BUFFER_MASK;
}

/** `kernels`: one for each memory of the pool. */
export function sharedBufferReadv(bufferIo: BufferIo, kernels: readonly PageKernel[]): AioCallback {
  const read = new BufferRead(bufferIo, kernels, CallbackId.SHARED_BUFFER_READV);
  return {
    name: 'shared_buffer_readv',
    stage: (io) => {
      attachBuffers(io, bufferIo);
    },
    completeShared: (io, result, flags) => {
      read.complete(io, result, flags);
    },
    report: (result) => invalidPages(result),
  };
}

/** Ties the claims on all of a handle's buffers to its I/O. */
export function attachBuffers(io: IoHandle, bufferIo: BufferIo): void {
  const { index, generation } = io;
  const count = io.dataCount;
  for (let at = 0; at < count; at++) bufferIo.attach(bufferOfWord(io.dataWord(at)), index, generation);
}

/** One completion under work; a thread completes one I/O at a time. */
export class BufferRead {
  io!: IoHandle;
  index = 0;
  generation = 0;
  invalid = 0;
  firstInvalid = 0;
  readonly #bufferIo: BufferIo;
  readonly #kernels: readonly PageKernel[];
  readonly #reporter: number;

  /** `reporter`: the callback that can report what this finds. */
  constructor(bufferIo: BufferIo, kernels: readonly PageKernel[], reporter: number) {
    this.#bufferIo = bufferIo;
    this.#kernels = kernels;
    this.#reporter = reporter;
  }

  complete(io: IoHandle, result: AioResult, flags: number): void {
    this.io = io;
    this.index = io.index;
    this.generation = io.generation;
    this.invalid = 0;
    const count = io.dataCount;
    const read = result.status === ResultStatus.ERROR ? 0 : Math.min(result.value, count);
    this.#judge(read, flags);
    for (let at = read; at < count; at++) this.#end(at, false);
    if (this.invalid === 0) return;
    result.status = ResultStatus.ERROR;
    result.reporter = this.#reporter;
    result.errorData = this.invalid | (this.firstInvalid << 8);
  }

  /** Pieces are neighbours in memory: one call judges all of a piece up to its first bad page. */
  #judge(read: number, flags: number): void {
    const { io } = this;
    const kernel = this.#kernels[io.memory] as PageKernel;
    const firstBlock = io.targetWord(SmgrWord.BLOCK);
    const again = io.deaths > 0;
    for (let piece = 0, start = 0; start < read; piece++) {
      const offset = io.iovOffset(piece);
      const blocks = io.iovLength(piece) / BLOCK_SIZE;
      const end = Math.min(start + blocks, read);
      for (let at = start; at < end;) {
        if (again && this.#isOver(at)) {
          at++;
          continue;
        }
        const here = offset + (at - start) * BLOCK_SIZE;
        const good = kernel.verifyRun(here, firstBlock + at, again ? 1 : end - at, flags);
        for (let left = good; left > 0; left--) this.#end(at++, true);
        if (good === 0 || (at < end && !again)) this.#endInvalid(at++);
      }
      start += blocks;
    }
  }

  /** After a death: somebody ended this buffer already, and its memory may be another block's by now. */
  #isOver(at: number): boolean {
    const word = this.io.dataWord(at);
    if (this.#bufferIo.isRunning(bufferOfWord(word), this.index, this.generation)) return false;
    if ((word & MARK_INVALID) !== 0) this.#countInvalid(at);
    return true;
  }

  #endInvalid(at: number): void {
    this.#countInvalid(at);
    this.io.markDataWord(at, this.io.dataWord(at) | MARK_INVALID);
    this.#end(at, false);
  }

  #countInvalid(at: number): void {
    if (this.invalid++ === 0) this.firstInvalid = at;
  }

  #end(at: number, valid: boolean): void {
    this.#bufferIo.terminate(bufferOfWord(this.io.dataWord(at)), this.index, this.generation, valid);
  }
}

export function invalidPages(result: AioReturn): Error {
  const first = (result.targetData[SmgrWord.BLOCK] as number) >>> 0;
  const last = first + (result.targetData[SmgrWord.COUNT] as number) - 1;
  const block = first + (result.errorData >>> 8);
  return new InvalidPageError(result.description, first, last, block, result.errorData & 0xff);
}
