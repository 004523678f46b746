/**
 * A read stream: a callback says which blocks come next, the stream reads ahead of its consumer and returns
 * pinned buffers in the callback's order. PostgreSQL's read_stream.c.
 *
 *   queue of buffers      head ▶ [ ready │ ready │ in flight … │ in flight ] ◀ tail, then forwarded pins
 *   pending read          neighbouring blocks not yet started, growing up to the combine distance
 *
 * Two distances adapt to what happens. The look-ahead distance, in blocks, doubles only when the consumer
 * really had to wait; so on fast storage it stays short. The combine distance, in blocks an I/O, doubles
 * after any I/O. Both shrink by one a hit, once nothing is in flight and a whole budget of hits has gone by
 * since the last I/O: a cached stream ends up pinning one buffer at a time.
 *
 * Its operations are steps. An error met while reading ahead is kept until the consumer gets there.
 */
import { ReadBuffersOperation, type BufferManager, type ForkReader } from '../buffer/buffer-manager.js';
import type { Scope } from '../aio/scope.js';
import { fail } from '../base/assert.js';
import { isOutOfBuffers } from '../buffer/pool.js';
import { PENDING, type Pending } from '../shmem/wait.js';

/** What a block callback returns when there are no more blocks. */
export const END_OF_STREAM = -1;
/** The next block to read, or END_OF_STREAM. Called ahead of the consumer; must not wait. */
export type NextBlock = () => number;

export interface ReadStreamOptions {
  /** Reads in flight; 0: each read is executed at once. Default: the instance's effectiveIoConcurrency. */
  ioConcurrency: number;
  /** Blocks an I/O. */
  combineLimit: number;
  /** The whole of something will be read: do not start out as if it were cached. */
  full: boolean;
  /** Submit what one look ahead starts in one call. The callback must then not wait for other I/O. */
  batch: boolean;
}

/** What a stream did, as EXPLAIN prints it. */
export interface ReadStreamStats {
  /** Buffers returned. */
  buffers: number;
  ios: number;
  /** Blocks read by those. */
  ioBlocks: number;
  /** How often the consumer had to wait for an I/O. */
  waits: number;
  /** Sum of the look-ahead distance over all returned buffers, its maximum, and its bound. */
  distanceSum: number;
  distanceMax: number;
  distanceCapacity: number;
  /** Sum of reads in flight when another was started. */
  inFlightSum: number;
}

export class ReadStream {
  readonly scope: Scope;
  readonly manager: BufferManager;
  readonly stats: ReadStreamStats;
  readonly #reader: ForkReader;
  readonly #nextBlock: NextBlock;
  readonly #combineLimit: number;
  readonly #ioMax: number;
  readonly #budget: number;
  readonly #batch: boolean;

  readonly #queue: Int32Array;
  readonly #mask: number;
  #head = 0;
  #tail = 0;
  /** Pinned buffers behind the tail, which the next operation takes over. */
  #forwarded = 0;

  readonly #operations: ReadBuffersOperation[] = [];
  /** Position in the queue of each operation's first buffer. */
  readonly #positions: Float64Array;
  #ioHead = 0;
  #ioTail = 0;

  #pendingBlock = 0;
  #pending = 0;
  /** A block that did not fit any more, asked for first next time; END_OF_STREAM: none. */
  #ungot = END_OF_STREAM;

  #distance: number;
  #combine: number;
  #holdOff = 0;
  #ended = false;
  /** The consumer asks for a buffer, so it has none, and none was on the way: only then is a full pool an error. */
  #empty = true;
  #error: unknown = null;

  constructor(
    manager: BufferManager,
    reader: ForkReader,
    scope: Scope,
    nextBlock: NextBlock,
    options: ReadStreamOptions,
  ) {
    this.manager = manager;
    this.scope = scope;
    this.#reader = reader;
    this.#nextBlock = nextBlock;
    this.#batch = options.batch;
    this.#ioMax = Math.max(1, options.ioConcurrency);
    const share = Math.max(1, Math.floor(manager.pool.region.count / 4));
    this.#combineLimit = Math.min(options.combineLimit, share);
    this.#budget = Math.max(1, Math.min((options.ioConcurrency + 1) * this.#combineLimit, share));
    const size = 2 ** Math.ceil(Math.log2(this.#budget + 2 * this.#combineLimit));
    this.#queue = new Int32Array(size);
    this.#mask = size - 1;
    for (let io = 0; io < this.#ioMax; io++) this.#operations.push(new ReadBuffersOperation());
    this.#positions = new Float64Array(this.#ioMax);
    this.#distance = options.full ? Math.min(this.#budget, this.#combineLimit) : 1;
    this.#combine = this.#distance;
    this.stats = {
      buffers: 0,
      ios: 0,
      ioBlocks: 0,
      waits: 0,
      distanceSum: 0,
      distanceMax: 0,
      distanceCapacity: this.#budget,
      inFlightSum: 0,
    };
  }

  /**
   * Step: the next buffer, pinned in the stream's scope for the caller to unpin, or END_OF_STREAM. Throws
   * what went wrong with its read; the stream is closed then.
   */
  next(): number | Pending {
    this.scope.assertOpen();
    if (this.#distance === 1 && this.#tail === this.#head && this.#pending === 0 && !this.#ended) {
      const buffer = this.#nextCached();
      if (buffer >= 0) return buffer;
    }
    return this.#nextQueued();
  }

  /** The fast path of a cached stream: one lookup, no queue. */
  #nextCached(): number {
    const block = this.#takeBlock();
    if (block === END_OF_STREAM) {
      this.#ended = true;
      return END_OF_STREAM;
    }
    const { pool } = this.manager;
    if (this.#forwarded === 0) {
      const buffer = pool.lookup(this.#reader.tag, block | 0, this.scope);
      if (buffer >= 0) {
        if (pool.foundValid) {
          this.manager.hits++;
          this.stats.buffers++;
          this.stats.distanceSum++;
          return buffer;
        }
        this.#queue[this.#tail & this.#mask] = buffer;
        this.#forwarded = 1;
      }
    }
    this.#pendingBlock = block;
    this.#pending = 1;
    return END_OF_STREAM;
  }

  #nextQueued(): number | Pending {
    this.#empty = this.#tail === this.#head;
    if (this.#empty) {
      if (this.#lookAhead() === PENDING && this.#tail === this.#head) return PENDING;
      if (this.#tail === this.#head) return this.#finish();
    }
    if (this.#ioHead !== this.#ioTail && this.#positions[this.#ioHead % this.#ioMax] === this.#head) {
      if (this.#awaitOldest() === PENDING) return PENDING;
    }
    const buffer = this.#queue[this.#head & this.#mask] as number;
    this.#head++;
    this.stats.buffers++;
    this.stats.distanceSum += this.#distance;
    this.#empty = false;
    if (!this.#ended || this.#pending > 0) this.#lookAhead();
    return buffer;
  }

  /** The end, or the error that reading ahead ended with. Sticky. */
  #finish(): number {
    if (this.#error === null) return END_OF_STREAM;
    this.close();
    throw this.#error as Error;
  }

  #awaitOldest(): true | Pending {
    const operation = this.#operations[this.#ioHead % this.#ioMax] as ReadBuffersOperation;
    if (!this.#waiting && !this.manager.isReady(operation)) {
      this.#waiting = true;
      this.stats.waits++;
      if (this.#distance > 0) this.#setDistance(this.#distance * 2);
    }
    try {
      if (this.manager.wait(operation) === PENDING) return PENDING;
    } catch (error) {
      this.#waiting = false;
      this.close();
      throw error;
    }
    this.#waiting = false;
    this.#ioHead++;
    return true;
  }

  /** The wait for the oldest read was counted already. */
  #waiting = false;

  // --- looking ahead -----------------------------------------------------------------------------

  /** Starts as many reads as the distances allow. PENDING: it would have to wait; call again. */
  #lookAhead(): true | Pending {
    const { aio } = this.manager;
    if (this.#batch) aio.enterBatch(this.scope);
    try {
      return this.#fill();
    } catch (error) {
      this.#error = error;
      this.#ended = true;
      this.#pending = 0;
      return true;
    } finally {
      if (this.#batch) aio.exitBatch();
    }
  }

  #fill(): true | Pending {
    while (this.#canLookFurther()) {
      if (this.#pending >= this.#combineDistance()) {
        if (this.#startPending() === PENDING) return PENDING;
        continue;
      }
      const block = this.#takeBlock();
      if (block === END_OF_STREAM) {
        this.#ended = true;
        break;
      }
      if (this.#extendPending(block)) continue;
      while (this.#pending > 0) {
        if (this.#inFlight === this.#ioMax || this.#startPending() === PENDING) {
          this.#ungot = block;
          return this.#inFlight === this.#ioMax ? true : PENDING;
        }
      }
      this.#pendingBlock = block;
      this.#pending = 1;
    }
    return this.#startWhatIsDue();
  }

  /** A pending read is started when it is as large as wanted, when no more can join it, or when nothing else is prepared. */
  #startWhatIsDue(): true | Pending {
    while (this.#pending > 0 && this.#inFlight < this.#ioMax) {
      const due = this.#pending >= this.#combineDistance() || this.#ended || this.#tail === this.#head;
      if (!due) break;
      if (this.#startPending() === PENDING) return PENDING;
    }
    return true;
  }

  get #inFlight(): number {
    return this.#ioTail - this.#ioHead;
  }

  #canLookFurther(): boolean {
    if (this.#ended || this.#inFlight >= this.#ioMax) return false;
    return this.#tail - this.#head + this.#pending < this.#distance;
  }

  #combineDistance(): number {
    return Math.min(this.#combine, this.#combineLimit);
  }

  #takeBlock(): number {
    const block = this.#ungot;
    if (block !== END_OF_STREAM) {
      this.#ungot = END_OF_STREAM;
      return block;
    }
    const next = this.#nextBlock();
    if (next >>> 0 !== next && next !== END_OF_STREAM)
      fail(`the block callback returned ${String(next)}, no block number`);
    return next;
  }

  #extendPending(block: number): boolean {
    const follows = this.#pending > 0 && block === this.#pendingBlock + this.#pending;
    if (!follows || this.#pending >= this.#reader.relation.maxCombine(this.#pendingBlock)) return false;
    this.#pending++;
    return true;
  }

  #startPending(): true | Pending {
    const slot = this.#ioTail % this.#ioMax;
    const operation = this.#operations[slot] as ReadBuffersOperation;
    operation.begin(
      this.#reader,
      this.scope,
      this.#queue,
      this.#mask,
      this.#tail,
      this.#pendingBlock,
      this.#forwarded,
    );
    try {
      if (this.manager.start(operation, Math.min(this.#pending, this.#combineLimit)) === PENDING) {
        this.#forwarded = operation.pinned;
        return PENDING;
      }
    } catch (error) {
      this.manager.unpinAll(operation);
      this.#forwarded = 0;
      if (!isOutOfBuffers(error) || (this.#empty && this.#tail === this.#head)) throw error;
      // Go on with what is pinned, the consumer's buffer included, and look no further for now.
      this.#distance = Math.max(1, this.#tail - this.#head);
      return PENDING;
    }
    const { count } = operation;
    if (operation.inFlight) this.#ioStarted(slot, count);
    else this.#hit();
    this.#tail += count;
    this.#forwarded = operation.pinned - count;
    this.#pendingBlock += count;
    this.#pending -= count;
    return true;
  }

  #ioStarted(slot: number, count: number): void {
    this.#positions[slot] = this.#tail;
    this.#ioTail++;
    this.stats.ios++;
    this.stats.ioBlocks += count;
    this.stats.inFlightSum += this.#inFlight;
    this.#holdOff = this.#budget;
    this.#combine = Math.min(this.#combine * 2, this.#combineLimit);
    // The combine distance is of use only if the stream looks that far ahead.
    if (this.#distance < this.#combine) this.#setDistance(this.#combine);
  }

  #hit(): void {
    if (this.#inFlight > 0) return;
    if (this.#holdOff > 0) {
      this.#holdOff--;
      return;
    }
    if (this.#distance > 1) this.#distance--;
    if (this.#combine > 1) this.#combine--;
  }

  #setDistance(distance: number): void {
    this.#distance = Math.min(distance, this.#budget);
    this.stats.distanceMax = Math.max(this.stats.distanceMax, this.#distance);
  }

  // --- ending ------------------------------------------------------------------------------------

  /** Unpins everything not yet returned. Does not wait: reads in flight have pins of their own. */
  close(): void {
    const { pool, aio } = this.manager;
    this.#ended = true;
    for (; this.#ioHead !== this.#ioTail; this.#ioHead++) {
      const operation = this.#operations[this.#ioHead % this.#ioMax] as ReadBuffersOperation;
      if (operation.inFlight && !operation.foreign) aio.abandon(operation.ioHandle, operation.ioGeneration);
    }
    const last = this.#tail + this.#forwarded;
    // A scope that has ended has given all its pins back.
    if (!this.scope.isOpen) this.#head = last;
    for (; this.#head !== last; this.#head++)
      pool.unpin(this.#queue[this.#head & this.#mask] as number, this.scope);
    this.#tail = this.#head;
    this.#forwarded = 0;
    this.#pending = 0;
    this.#ungot = END_OF_STREAM;
  }
}
