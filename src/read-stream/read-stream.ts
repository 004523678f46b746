/**
 * A read stream: a callback says which blocks come next, the stream reads ahead of its consumer and returns
 * pinned buffers in the callback's order. PostgreSQL's read_stream.c, with the distances of PostgreSQL 19.
 *
 *   queue of buffers      head ▶ [ ready │ ready │ in flight … │ in flight ] ◀ tail, then forwarded pins
 *   pending read          neighbouring blocks not yet started, growing up to the combine distance
 *   slots of data         one a place of the queue, filled in by the callback, also for the pending read
 *
 * How far it looks ahead is up to distances.ts. While both distances are 1 nothing is queued at all: the fast path
 * looks each block up when it is wanted, and is left at the first that is not there.
 *
 * What is pinned ahead of the consumer counts in the pool (`lookAheadPins`) and in the scope, for the limit that
 * all streams of a backend share.
 *
 * Its operations are steps. An error met while reading ahead is kept until the consumer gets there.
 */
import { ReadBuffersOperation, type BufferManager, type ForkReader } from '../buffer/buffer-manager.js';
import { USAGE_MAX, USAGE_ONE } from '../buffer/descriptor.js';
import type { Scope } from '../aio/scope.js';
import { fail } from '../base/assert.js';
import { ClosedError } from '../base/errors.js';
import { isOutOfBuffers } from '../buffer/pool-holders.js';
import { PENDING, type Pending } from '../shmem/wait.js';
import { AdviceRule } from './advice.js';
import { Distances } from './distances.js';
import { PinAccount } from './pin-account.js';
import { END_OF_STREAM, YIELD, type NextBlock, type ReadStreamOptions } from './stream-options.js';
import { newStreamStats, type ReadStreamStats } from './stream-stats.js';

/** Look at the number of backends again after so many I/Os. */
const PIN_LIMIT_STRIDE = 64;

// Plain private fields: `#` ones cost a brand check each, on the path of every block.
export class ReadStream<D = undefined> {
  readonly scope: Scope;
  readonly manager: BufferManager;
  readonly stats: ReadStreamStats;
  private readonly reader: ForkReader;
  private readonly nextBlock: (data: D) => number;
  private readonly combineLimit: number;
  private readonly ioMax: number;
  private readonly batchMode: boolean;
  private readonly synchronous: boolean;
  private readonly mayBlock: boolean;
  private readonly strategy: ReadStreamOptions<D>['strategy'];
  private readonly advice: AdviceRule | null;

  private readonly queue: Int32Array;
  private readonly mask: number;
  private head = 0;
  private tail = 0;
  /** Pinned buffers behind the tail, which the next operation takes over. */
  private forwarded = 0;
  private readonly pins: PinAccount;
  /** By place in the queue; null: the stream carries no data. */
  private readonly slots: D[] | null;

  private readonly operations: ReadBuffersOperation[] = [];
  /** Position in the queue of each operation's first buffer. */
  private readonly positions: Float64Array;
  private ioHead = 0;
  private ioTail = 0;

  private pendingBlock = 0;
  private pending = 0;
  /** A block that did not fit any more, asked for first next time; END_OF_STREAM: none. */
  private ungot = END_OF_STREAM;

  private readonly distances: Distances;
  private fastPath: boolean;
  /** The fast path has served a block: what it misses now is a hole in what is cached. */
  private inCachedRun = false;
  private readAtOnce = false;
  private ended = false;
  private paused = false;
  private closed = false;
  /** The consumer asks for a buffer, so it has none, and none was on the way: only then is a full pool an error. */
  private empty = true;
  private error: unknown = null;

  constructor(
    manager: BufferManager,
    reader: ForkReader,
    scope: Scope,
    nextBlock: NextBlock<D>,
    options: ReadStreamOptions<D>,
  ) {
    const { strategy, perBufferData } = options;
    const { pool } = manager;
    pool.refreshPinLimit();
    this.manager = manager;
    this.scope = scope;
    this.pins = new PinAccount(manager, scope);
    this.reader = reader;
    this.nextBlock = nextBlock as (data: D) => number;
    this.batchMode = options.batchMode;
    this.synchronous = options.ioConcurrency === 0;
    this.mayBlock = options.mayBlock;
    this.strategy = strategy;
    this.ioMax = Math.max(1, options.ioConcurrency);
    const wanted = (options.ioConcurrency + 1) * options.combineLimit;
    const budget = Math.max(1, Math.min(wanted, strategy?.pinLimit ?? wanted, pool.pinLimit));
    this.combineLimit = Math.min(options.combineLimit, budget);
    this.advice = options.advice && options.deferred && options.ioConcurrency > 0 ? new AdviceRule() : null;
    // One more for the buffer that the consumer has, and one for the block that did not fit: their data stays.
    const size = 2 ** Math.ceil(Math.log2(budget + this.combineLimit + 2));
    this.queue = new Int32Array(size);
    this.mask = size - 1;
    this.slots = perBufferData === null ? null : Array.from({ length: size }, () => perBufferData());
    for (let io = 0; io < this.ioMax; io++) {
      const operation = new ReadBuffersOperation();
      operation.strategy = strategy;
      operation.deferred = options.deferred;
      this.operations.push(operation);
    }
    this.positions = new Float64Array(this.ioMax);
    this.distances = new Distances(budget, this.combineLimit, options.full);
    this.fastPath = this.isCached;
    this.stats = newStreamStats(budget);
  }

  /** Blocks that the stream looks ahead at present, and that it combines into one I/O. */
  get distance(): { lookAhead: number; combine: number } {
    return { lookAhead: this.distances.lookAhead, combine: this.distances.combine };
  }

  /** What the callback stored for the buffer that was returned last; the slot is used again after the next pull. */
  get data(): D {
    return this.slots?.[(this.head - 1) & this.mask] as D;
  }

  /**
   * Step: the next buffer, pinned in the stream's scope for the caller to unpin, or END_OF_STREAM. Throws
   * what went wrong with its read; the stream is closed then.
   */
  next(): number | Pending {
    this.scope.assertOpen();
    if (this.fastPath) {
      const buffer = this.nextCached();
      if (buffer >= 0) return buffer;
    }
    return this.nextQueued();
  }

  /** The fast path: one lookup, no queue. END_OF_STREAM: it is left. */
  private nextCached(): number {
    const block = this.takeBlock();
    if (block < 0) {
      this.fastPath = false;
      if (block === END_OF_STREAM) this.ended = true;
      else this.stats.yields++; // there is nothing to yield to: the consumer wants this block
      return END_OF_STREAM;
    }
    const { strategy, manager } = this;
    const limit = strategy === null ? USAGE_MAX : USAGE_ONE;
    const buffer = manager.pool.lookup(this.reader.tag, block | 0, this.scope, limit);
    if (buffer >= 0) {
      if (manager.pool.foundValid) {
        this.inCachedRun = true;
        manager.hit(strategy);
        this.stats.buffers++;
        this.stats.distanceSum++;
        return buffer;
      }
      this.queue[this.tail & this.mask] = buffer;
      this.forwarded = 1;
      this.count();
    }
    this.fastPath = false;
    this.readAtOnce = this.inCachedRun && this.mayBlock;
    this.pendingBlock = block;
    this.pending = 1;
    return END_OF_STREAM;
  }

  private nextQueued(): number | Pending {
    this.empty = this.tail === this.head;
    if (this.empty) {
      if (this.lookAhead() === PENDING && this.tail === this.head) return PENDING;
      if (this.tail === this.head) return this.finish();
    }
    if (this.ioHead !== this.ioTail && this.positions[this.ioHead % this.ioMax] === this.head) {
      if (this.awaitOldest() === PENDING) return PENDING;
    }
    const buffer = this.queue[this.head & this.mask] as number;
    this.countPull(this.tail - this.head);
    this.head++;
    this.empty = false;
    if (this.isCached) {
      this.fastPath = true;
      this.inCachedRun = true;
    } else if (this.shouldLookAhead() || this.isDue()) {
      this.lookAhead();
    }
    return buffer;
  }

  private countPull(distance: number): void {
    const { stats } = this;
    stats.buffers++;
    stats.distanceSum += distance;
    if (distance > stats.distanceMax) stats.distanceMax = distance;
    this.pins.handOver();
  }

  /** Nothing is queued, and nothing says that anything should be. */
  private get isCached(): boolean {
    const { distances } = this;
    return (
      distances.lookAhead === 1 &&
      distances.combine === 1 &&
      this.tail === this.head &&
      this.pending === 0 &&
      !this.ended &&
      this.slots === null
    );
  }

  /** The end, or the error that reading ahead ended with. Sticky. */
  private finish(): number {
    const { error } = this;
    if (error === null) return END_OF_STREAM;
    this.close();
    this.error = error;
    throw error as Error;
  }

  private awaitOldest(): true | Pending {
    const operation = this.operations[this.ioHead % this.ioMax] as ReadBuffersOperation;
    let waited: boolean | Pending;
    try {
      waited = this.manager.wait(operation);
    } catch (error) {
      this.close();
      throw error;
    }
    if (waited === PENDING) return PENDING;
    this.ioHead++;
    // What was executed at once was waited for then; or else its I/Os would never grow.
    waited ||= operation.synchronous;
    if (waited) this.stats.waits++;
    if (!this.ended) this.distances.afterIo(waited);
    this.advice?.wasRead(operation.block);
    return true;
  }

  // --- looking ahead -----------------------------------------------------------------------------

  /** Starts as many reads as the distances allow. PENDING: it would have to wait; call again. */
  private lookAhead(): true | Pending {
    const { aio } = this.manager;
    if (this.batchMode) aio.enterBatch(this.scope);
    try {
      return this.fill();
    } catch (error) {
      this.error = error;
      this.ended = true;
      this.pending = 0;
      return true;
    } finally {
      if (this.batchMode) aio.exitBatch();
    }
  }

  private fill(): true | Pending {
    let yielded = false;
    while (this.shouldLookAhead()) {
      if (this.isDue()) {
        if (this.startPending() === PENDING) return PENDING;
        continue;
      }
      const block = this.takeBlock();
      if (block === END_OF_STREAM) {
        this.ended = true;
        break;
      }
      if (block === YIELD) {
        this.stats.yields++;
        if (this.hasSomething()) break;
        if (yielded) fail('the block callback yields again and again, and the consumer has nothing');
        yielded = true;
        continue;
      }
      if (this.extendPending(block)) continue;
      if (this.pending > 0 && this.startAllPending() === PENDING) {
        this.ungot = block;
        return PENDING;
      }
      this.pendingBlock = block;
      this.pending = 1;
    }
    // A consumer that was yielded to gets what there is, however small.
    while (this.isDue() || (this.empty && this.pending > 0 && this.tail === this.head)) {
      if (this.startPending() === PENDING) return PENDING;
    }
    return true;
  }

  /** Whether a yield has anything to yield to: the consumer can go on, or soon will. */
  private hasSomething(): boolean {
    return !this.empty || this.tail !== this.head || this.pending > 0;
  }

  /** PENDING also if no more I/O may be in flight. */
  private startAllPending(): true | Pending {
    while (this.pending > 0) {
      if (this.inFlight === this.ioMax || this.startPending() === PENDING) return PENDING;
    }
    return true;
  }

  private get inFlight(): number {
    return this.ioTail - this.ioHead;
  }

  /** Within the look-ahead distance; and beyond it while nothing is prepared and the pending read may still grow. */
  private shouldLookAhead(): boolean {
    if (this.ended || this.inFlight >= this.ioMax) return false;
    const { distances, pending } = this;
    const prepared = this.tail - this.head;
    if (pending > 0 && prepared === 0 && pending < distances.combine) return true;
    return prepared + pending < distances.lookAhead;
  }

  /** The pending read is as large as wanted, nothing more can join it, or the consumer has nothing else. */
  private isDue(): boolean {
    if (this.pending === 0 || this.inFlight >= this.ioMax) return false;
    if (this.ended || this.pending >= this.distances.combine) return true;
    return this.tail === this.head && !this.shouldLookAhead();
  }

  private takeBlock(): number {
    const block = this.ungot;
    if (block !== END_OF_STREAM) {
      this.ungot = END_OF_STREAM;
      return block;
    }
    const { slots } = this;
    let next: number;
    try {
      next = this.nextBlock(
        (slots === null ? undefined : slots[(this.tail + this.pending) & this.mask]) as D,
      );
      if (next >>> 0 !== next && next !== END_OF_STREAM && next !== YIELD)
        fail(`the block callback returned ${String(next)}, no block number`);
    } catch (error) {
      this.error = error; // for the consumer, behind the blocks that were given before
      return END_OF_STREAM;
    }
    return this.closed ? END_OF_STREAM : next; // closed by the callback
  }

  private extendPending(block: number): boolean {
    const follows = this.pending > 0 && block === this.pendingBlock + this.pending;
    if (!follows || this.pending >= this.reader.relation.maxCombine(this.pendingBlock)) return false;
    this.pending++;
    return true;
  }

  /** Starts as much of the pending read as one operation can take. PENDING: not now. */
  private startPending(): true | Pending {
    const prepared = this.tail - this.head;
    const allowed = this.allowedPins(prepared);
    if (allowed < this.pending) {
      this.distances.shrink(prepared + allowed);
      if (prepared > 0) return PENDING; // until the consumer has given back some
    }
    const operation = this.operations[this.ioTail % this.ioMax] as ReadBuffersOperation;
    const { queue, mask, tail, pendingBlock } = this;
    operation.begin(this.reader, this.scope, queue, mask, tail, pendingBlock, this.forwarded);
    operation.synchronous = this.synchronous || this.readAtOnce;
    try {
      const wanted = Math.min(this.pending, this.combineLimit, allowed);
      if (this.manager.start(operation, wanted) === PENDING) {
        this.forwarded = operation.pinned;
        this.count();
        return PENDING;
      }
    } catch (error) {
      this.manager.unpinAll(operation);
      this.forwarded = 0;
      this.count();
      if (!isOutOfBuffers(error) || (this.empty && prepared === 0)) throw error;
      // Go on with what is pinned, the consumer's buffer included, and look no further for now.
      this.distances.shrink(prepared);
      return PENDING;
    }
    this.started(operation);
    return true;
  }

  private started(operation: ReadBuffersOperation): void {
    const { count } = operation;
    const position = this.tail;
    this.readAtOnce = false;
    this.tail += count;
    this.forwarded = operation.pinned - count;
    this.pendingBlock += count;
    this.pending -= count;
    this.count();
    if (operation.needsWait) this.ioStarted(operation, position);
    else if (this.inFlight === 0 && !this.ended) this.distances.afterHit();
  }

  /** The books are in order already: giving advice may fail. */
  private ioStarted(operation: ReadBuffersOperation, position: number): void {
    const { stats } = this;
    this.positions[this.ioTail % this.ioMax] = position;
    this.ioTail++;
    stats.ios++;
    stats.ioBlocks += operation.count;
    stats.inFlightSum += this.inFlight;
    if (this.advice?.prepare(operation.block, operation.count, position !== this.head) === true) {
      if (this.manager.advise(operation)) stats.advices++;
    }
    if (stats.ios % PIN_LIMIT_STRIDE === 0) this.manager.pool.refreshPinLimit();
  }

  /** Pins that this stream may have more of ahead of its consumer; one if it has none, so that it gets on. */
  private allowedPins(prepared: number): number {
    return Math.max(this.pins.left, 0) + this.forwarded || (prepared === 0 ? 1 : 0);
  }

  /** Brings the account up to date. */
  private count(): void {
    this.pins.set(this.tail - this.head + this.forwarded);
  }

  // --- pausing, starting over, ending ------------------------------------------------------------

  /**
   * Ends the stream for now: it returns what it has read ahead, then END_OF_STREAM until `resume`. Also for the
   * block callback, which then returns what this returns.
   */
  pause(): typeof END_OF_STREAM {
    if (!this.ended) {
      this.ended = true;
      this.paused = true;
      this.fastPath = false;
    }
    return END_OF_STREAM;
  }

  /** Goes on behind the last block before `pause`, with the distances of then. Does nothing if it is not paused. */
  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.ended = this.error !== null; // reading ahead went wrong while it was paused: the consumer gets there first
    this.fastPath = this.isCached;
  }

  /**
   * Starts over: unpins everything not yet returned, forgets the end, and asks the callback again at the next
   * pull, as if all blocks were cached.
   */
  reset(): void {
    if (this.closed) throw new ClosedError('this stream');
    this.unpinAhead();
    this.error = null;
    this.paused = false;
    this.ended = false;
    this.distances.startOver();
    this.inCachedRun = false;
    this.fastPath = this.isCached;
  }

  /** Unpins everything not yet returned, and returns END_OF_STREAM from here on. */
  close(): void {
    this.closed = true;
    this.error = null;
    this.paused = false;
    this.ended = true;
    this.fastPath = false;
    this.unpinAhead();
  }

  /** Does not wait: reads in flight have pins of their own, and their results are not wanted any more. */
  private unpinAhead(): void {
    const { pool, aio } = this.manager;
    for (; this.ioHead !== this.ioTail; this.ioHead++) {
      const operation = this.operations[this.ioHead % this.ioMax] as ReadBuffersOperation;
      if (operation.inFlight && !operation.foreign) aio.abandon(operation.ioHandle, operation.ioGeneration);
    }
    const last = this.tail + this.forwarded;
    this.forwarded = 0;
    this.pending = 0;
    this.ungot = END_OF_STREAM;
    this.readAtOnce = false;
    if (this.scope.isOpen) {
      for (let at = this.head; at !== last; at++)
        pool.unpin(this.queue[at & this.mask] as number, this.scope);
    }
    this.tail = this.head; // so what is said about the buffer that was returned last stays where it is
    this.count();
  }
}
