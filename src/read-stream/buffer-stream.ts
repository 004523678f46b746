/**
 * A read stream for event loops: `for await` over pinned buffers. Each buffer is pinned for its turn of the
 * loop and released when the next is asked for. Leaving the loop early releases everything at once, without
 * waiting for reads in flight.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { PENDING } from '../shmem/wait.js';
import { PinnedBuffer } from '../buffer/pinned-buffer.js';
import { END_OF_STREAM, type ReadStream, type ReadStreamStats } from './read-stream.js';

/** Over cached blocks the loop would never turn by itself: after this long, timers and sockets get their turn. */
const YIELD_MILLIS = 4;
/** The clock is looked at every so many buffers. */
const CLOCK_STRIDE = 256;

const DONE: IteratorResult<PinnedBuffer, undefined> = { value: undefined, done: true };

export class BufferStream implements AsyncIterableIterator<PinnedBuffer, undefined> {
  readonly #stream: ReadStream;
  readonly #blocks: BlockQueue;
  #current: PinnedBuffer | null = null;
  #untilClock = CLOCK_STRIDE;
  #turnStarted = performance.now();
  readonly #step = (): number | typeof PENDING => this.#stream.next();

  /** `makeStream` is given the callback to call in place of the user's, which notes the block numbers. */
  constructor(nextBlock: () => number, makeStream: (nextBlock: () => number) => ReadStream) {
    this.#blocks = new BlockQueue(nextBlock);
    this.#stream = makeStream(this.#blocks.next);
  }

  get stats(): ReadStreamStats {
    return this.#stream.stats;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<PinnedBuffer, undefined>> {
    this.#releaseCurrent();
    if (--this.#untilClock === 0 && this.#isTurnOver()) return this.#nextAfterTurn();
    let buffer: number | typeof PENDING;
    try {
      buffer = this.#stream.next();
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
    return buffer === PENDING ? this.#nextSlowly() : Promise.resolve(this.#deliver(buffer));
  }

  async #nextSlowly(): Promise<IteratorResult<PinnedBuffer, undefined>> {
    const buffer = await this.#stream.manager.aio.waits.until(this.#step);
    this.#turnStarted = performance.now();
    return this.#deliver(buffer);
  }

  async #nextAfterTurn(): Promise<IteratorResult<PinnedBuffer, undefined>> {
    await nextTurn();
    return this.#nextSlowly();
  }

  #isTurnOver(): boolean {
    this.#untilClock = CLOCK_STRIDE;
    return performance.now() - this.#turnStarted > YIELD_MILLIS;
  }

  /**
   * The next buffer, blocking the thread; null at the end. The buffer of the call before is released.
   * For threads of their own, never for an event loop that others need.
   */
  nextBlocking(): PinnedBuffer | null {
    this.#releaseCurrent();
    let buffer = this.#stream.next();
    if (buffer === PENDING) buffer = this.#stream.manager.aio.waits.block(this.#step);
    return this.#deliver(buffer).value ?? null;
  }

  #deliver(buffer: number): IteratorResult<PinnedBuffer, undefined> {
    if (buffer === END_OF_STREAM) return DONE;
    this.#current = new PinnedBuffer(this.#stream.manager, this.#stream.scope, buffer, this.#blocks.take());
    return { value: this.#current, done: false };
  }

  #releaseCurrent(): void {
    if (this.#current === null) return;
    this.#current.release();
    this.#current = null;
  }

  /** Called when a loop is left early. */
  return(): Promise<IteratorResult<PinnedBuffer, undefined>> {
    this.close();
    return Promise.resolve(DONE);
  }

  /** Releases everything. */
  close(): void {
    this.#releaseCurrent();
    this.#stream.close();
  }
}

/** Numbers of the blocks that the callback named and the consumer has not got yet, in order. */
class BlockQueue {
  readonly #source: () => number;
  #blocks = new Float64Array(64);
  #head = 0;
  #tail = 0;

  constructor(source: () => number) {
    this.#source = source;
  }

  readonly next = (): number => {
    const block = this.#source();
    if (block === END_OF_STREAM) return block;
    if (this.#tail - this.#head === this.#blocks.length) this.#grow();
    this.#blocks[this.#tail++ & (this.#blocks.length - 1)] = block;
    return block;
  };

  take(): number {
    return this.#blocks[this.#head++ & (this.#blocks.length - 1)] as number;
  }

  #grow(): void {
    const larger = new Float64Array(this.#blocks.length * 2);
    const count = this.#tail - this.#head;
    for (let at = 0; at < count; at++)
      larger[at] = this.#blocks[(this.#head + at) & (this.#blocks.length - 1)] as number;
    this.#blocks = larger;
    this.#head = 0;
    this.#tail = count;
  }
}
