/**
 * A read stream for event loops: `for await` over pinned buffers. Each buffer is pinned for its turn of the
 * loop and released when the next is asked for. Leaving the loop early releases everything at once, without
 * waiting for reads in flight. While it is paused a loop ends as at the end of the stream; after `resume`, a new
 * loop goes on where that one ended.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { PENDING } from '../shmem/wait.js';
import { PinnedBuffer } from '../buffer/pinned-buffer.js';
import { type ReadStream } from './read-stream.js';
import { END_OF_STREAM } from './stream-options.js';
import type { ReadStreamStats } from './stream-stats.js';

/** Whether the event loop is due is asked every so many buffers. */
const TURN_STRIDE = 32;

const DONE: IteratorResult<PinnedBuffer, undefined> = { value: undefined, done: true };

export class BufferStream<D = undefined> implements AsyncIterableIterator<PinnedBuffer, undefined> {
  readonly #stream: ReadStream<D>;
  #current: PinnedBuffer | null = null;
  #untilTurn = TURN_STRIDE;
  readonly #step = (): number | typeof PENDING => this.#stream.next();

  constructor(stream: ReadStream<D>) {
    this.#stream = stream;
  }

  get stats(): ReadStreamStats {
    return this.#stream.stats;
  }

  /** Blocks that the stream looks ahead at present, and that it combines into one I/O. */
  get distance(): { lookAhead: number; combine: number } {
    return this.#stream.distance;
  }

  /** What the callback stored for the buffer that was returned last; the slot is used again after the next pull. */
  get data(): D {
    return this.#stream.data;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<PinnedBuffer, undefined>> {
    this.#releaseCurrent();
    if (--this.#untilTurn === 0 && this.#isTurnOver()) return this.#nextAfterTurn();
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
    return this.#deliver(buffer);
  }

  async #nextAfterTurn(): Promise<IteratorResult<PinnedBuffer, undefined>> {
    await nextTurn();
    return this.#nextSlowly();
  }

  #isTurnOver(): boolean {
    this.#untilTurn = TURN_STRIDE;
    return this.#stream.manager.aio.waits.isTurnOver;
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
    const { manager, scope } = this.#stream;
    this.#current = new PinnedBuffer(manager, scope, buffer, manager.pool.blockOf(buffer));
    return { value: this.#current, done: false };
  }

  #releaseCurrent(): void {
    if (this.#current === null) return;
    this.#current.release();
    this.#current = null;
  }

  /**
   * Ends the stream for now: what it has read ahead still comes, then a loop ends. Also for the block callback,
   * which then returns what this returns.
   */
  pause(): typeof END_OF_STREAM {
    return this.#stream.pause();
  }

  /** Goes on behind the last block before `pause`. Does nothing if the stream is not paused. */
  resume(): void {
    this.#stream.resume();
  }

  /** Forgets what was read ahead, and the end: the callback is asked again. The buffer in use stays. */
  reset(): void {
    this.#stream.reset();
  }

  /** Called when a loop is left early. */
  return(): Promise<IteratorResult<PinnedBuffer, undefined>> {
    this.close();
    return Promise.resolve(DONE);
  }

  /** Releases everything, for good. */
  close(): void {
    this.#releaseCurrent();
    this.#stream.close();
  }
}
