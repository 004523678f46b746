/**
 * A look-ahead stream over ranges of plain files: a callback says which ranges come next, the stream cuts
 * them into chunks, keeps a window of reads in flight, and returns the chunks in order. What the buffer pool
 * is to a read stream, leased I/O memory is here: each place of the window has its own piece.
 *
 *   chunks      given out │ head ▶ [ in flight … in flight ] ◀ tail │ free
 *
 * A chunk belongs to the caller until the next call; then its place is read into again. The memory is given
 * back by `close`, and only once the kernel is done with it: if waiting for that fails, the instance has
 * crashed, and the memory stays leased.
 *
 * Its operations are steps. An error of the callback is kept until the consumer gets there; a read that
 * fails, or cannot be started, is a chunk that says so.
 */
import { HandleState } from '../aio/states.js';
import type { IoHandle } from '../aio/handle.js';
import { AioReturn, ResultStatus } from '../aio/result.js';
import { PENDING, type Pending } from '../shmem/wait.js';
import { errorOf } from '../aio/report.js';
import type { File, FileContext } from '../vfd/file.js';

/** Bytes of a file, from `position` on. Of a direct file, both must be aligned. */
export interface FileRange {
  readonly file: File;
  readonly position: number;
  /** Fewer are returned where the file ends. */
  readonly length: number;
}

/** The next range to read, or null. Called ahead of the consumer; must not wait. */
export type NextRange<R extends FileRange> = () => R | null;

export interface FileStreamOptions<R extends FileRange> {
  /** Bytes a read. */
  readonly chunkBytes: number;
  /** Reads in flight; fewer if there is not so much I/O memory when the stream begins. */
  readonly depth: number;
  /** Registers callbacks on the handle of a read, and returns the number of the first block for them. */
  readonly prepare?: (io: IoHandle, range: R, position: number) => number;
}

/** One read, and where its bytes are. */
export class FileChunk<R extends FileRange> {
  /** In bytes of the I/O memory. */
  readonly memoryOffset: number;
  /** As the callbacks left it; its value is the number of bytes. */
  readonly result: AioReturn = new AioReturn();
  /** In the file. */
  position = 0;
  /** Bytes asked for. */
  length = 0;
  /** The last chunk of its range. */
  isLast = false;
  #range: R | null = null;
  /** Which I/O it is, or why there is none. */
  index = 0;
  generation = 0;
  failure: Error | null = null;

  constructor(memoryOffset: number) {
    this.memoryOffset = memoryOffset;
  }

  get range(): R {
    return this.#range as R;
  }

  /** Bytes that were read. */
  get bytes(): number {
    return Math.max(0, this.result.value);
  }

  assign(range: R, position: number, length: number): void {
    this.#range = range;
    this.position = position;
    this.length = length;
    this.isLast = position + length >= range.position + range.length;
    this.failure = null;
    this.result.reset();
  }
}

export class FileStream<R extends FileRange> {
  readonly #context: FileContext;
  readonly #nextRange: NextRange<R>;
  readonly #options: FileStreamOptions<R>;
  readonly #chunks: FileChunk<R>[] = [];
  #head = 0;
  #tail = 0;
  #range: R | null = null;
  /** Where the next chunk of `#range` begins. */
  #position = 0;
  #ended = false;
  #error: unknown = null;

  constructor(context: FileContext, nextRange: NextRange<R>, options: FileStreamOptions<R>) {
    this.#context = context;
    this.#nextRange = nextRange;
    this.#options = options;
  }

  /** Step: the next chunk, valid until the next call; null at the end. */
  next(): FileChunk<R> | null | Pending {
    const depth = this.#chunks.length;
    // Refilled by quarters, so that several reads are submitted in one call.
    const free = depth - (this.#tail - this.#head);
    if (!this.#ended && (free * 4 >= depth || free === depth)) {
      if (this.#lookAhead() === PENDING && this.#tail === this.#head) return PENDING;
    }
    if (this.#tail === this.#head) {
      if (this.#error !== null) throw this.#error as Error;
      return null;
    }
    const chunk = this.#chunkAt(this.#head);
    if (this.#await(chunk) === PENDING) return PENDING;
    this.#head++;
    return chunk;
  }

  /** Why a chunk could not be read, or null. */
  errorOf(chunk: FileChunk<R>): Error | null {
    if (chunk.failure !== null) return chunk.failure;
    return chunk.result.status === ResultStatus.ERROR ? errorOf(this.#context.aio, chunk.result) : null;
  }

  #chunkAt(position: number): FileChunk<R> {
    return this.#chunks[position % this.#chunks.length] as FileChunk<R>;
  }

  #await(chunk: FileChunk<R>): true | Pending {
    return chunk.failure !== null || this.#context.aio.waitFor(chunk.index, chunk.generation);
  }

  // --- looking ahead -----------------------------------------------------------------------------

  /** Starts as many reads as there are free places. PENDING: it would have to wait; call again. */
  #lookAhead(): true | Pending {
    if (this.#chunks.length === 0 && this.#leasePlaces() === PENDING) return PENDING;
    const { aio, scope } = this.#context;
    aio.enterBatch(scope);
    try {
      while (this.#tail - this.#head < this.#chunks.length && this.#haveRange()) {
        if (this.#startChunk() === PENDING) return PENDING;
      }
      return true;
    } catch (error) {
      this.#error = error;
      this.#ended = true;
      return true;
    } finally {
      aio.exitBatch();
    }
  }

  #haveRange(): boolean {
    while (this.#range === null || this.#position >= this.#range.position + this.#range.length) {
      this.#range = this.#ended ? null : this.#nextRange();
      if (this.#range === null) {
        this.#ended = true;
        return false;
      }
      this.#position = this.#range.position;
    }
    return true;
  }

  #startChunk(): true | Pending {
    const { aio, scope } = this.#context;
    const range = this.#range as R;
    const chunk = this.#chunkAt(this.#tail);
    const io = aio.acquire(scope, chunk.result);
    if (io === PENDING) return PENDING;
    const length = Math.min(this.#options.chunkBytes, range.position + range.length - this.#position);
    chunk.assign(range, this.#position, length);
    ({ index: chunk.index, generation: chunk.generation } = io);
    try {
      const firstBlock = this.#options.prepare?.(io, range, chunk.position) ?? 0;
      range.file.startRead(io, chunk.memoryOffset, length, chunk.position, firstBlock);
    } catch (error) {
      if (io.state !== HandleState.HANDED_OUT) throw error;
      aio.release(io); // not started: the file could not be opened again
      chunk.failure = error as Error;
    }
    this.#position += length;
    this.#tail++;
    return true;
  }

  /** Waits for one place only: two streams that wait while they hold some would wait for each other. */
  #leasePlaces(): true | Pending {
    const { aio, ioMemory } = this.#context;
    const { chunkBytes, depth } = this.#options;
    const first = ioMemory.lease(aio.waits, chunkBytes);
    if (first === PENDING) return PENDING;
    for (let offset = first; offset >= 0; offset = ioMemory.tryLease(chunkBytes)) {
      this.#chunks.push(new FileChunk<R>(offset));
      if (this.#chunks.length === depth) break;
    }
    return true;
  }

  // --- ending ------------------------------------------------------------------------------------

  /** Step: ends the stream wherever it is, waits for what is in flight, and gives the memory back. */
  close(): true | Pending {
    this.#ended = true;
    this.#range = null;
    for (; this.#head !== this.#tail; this.#head++) {
      if (this.#await(this.#chunkAt(this.#head)) === PENDING) return PENDING;
    }
    const { ioMemory } = this.#context;
    for (const chunk of this.#chunks) ioMemory.release(chunk.memoryOffset, this.#options.chunkBytes);
    this.#chunks.length = 0;
    return true;
  }
}
