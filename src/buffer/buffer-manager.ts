/**
 * Reads through a pool, the shared one or a backend's private one: PostgreSQL's StartReadBuffers and
 * WaitReadBuffers.
 *
 * One read of neighbouring blocks: pin each block's buffer until one holds its page already; acquire a
 * handle; claim the right to read as many as are free; start one I/O into them. Where somebody else reads
 * the first block already, the read joins that I/O instead.
 *
 * The handle is acquired before anything is claimed, because acquiring may wait, and nobody waits while
 * holding a claim.
 */
import type { Aio } from '../aio/aio.js';
import type { IoHandle } from '../aio/handle.js';
import { HandleFlag } from '../aio/operation.js';
import { errorOf, warningOf } from '../aio/report.js';
import { AioReturn, ResultStatus } from '../aio/result.js';
import type { Scope, ScopedResources } from '../aio/scope.js';
import { assert } from '../base/assert.js';
import { BLOCK_SIZE } from '../base/settings.js';
import { PENDING, type Pending, type Step } from '../shmem/wait.js';
import type { Slots } from '../shmem/slots.js';
import { checkFork, type Fork } from '../smgr/relation.js';
import type { ReadableRelation } from '../smgr/readable-relation.js';
import type { BufferCounts } from '../stats/io-stats.js';
import { Claim, type BufferIo } from './buffer-io.js';
import { makeForkTag, type ForkTag } from './descriptor.js';
import type { PageSettings } from './page-damage.js';
import { BufferLocks } from './buffer-lock.js';
import type { ContentLocks } from './content-lock.js';
import { DIRTY_VICTIMS, type BufferPool } from './pool.js';
import { isOutOfBuffers } from './pool-holders.js';
import type { BufferStrategy } from './strategy.js';
import type { WriteBack } from './write-back.js';

/** Blocks in one memory of the pool: 4 GiB. */
export const MEMORY_BLOCKS = 524_288;
const MEMORY_SHIFT = 19;

/** One fork of a relation, ready to be read. */
export interface ForkReader {
  readonly relation: ReadableRelation;
  readonly fork: Fork;
  readonly tag: ForkTag;
  /** For the completion callback: see ReadFlag. */
  readonly flags: number;
}

/** A read of neighbouring blocks, from start to wait. Kept and used again by streams. */
export class ReadBuffersOperation {
  reader!: ForkReader;
  scope!: Scope;
  /** Where the buffers are: `buffers[(first + i) & mask]` is block `block + i`. */
  buffers!: Int32Array;
  mask = 0;
  first = 0;
  block = 0;
  /** Blocks of the read, and how many of them hold their pages. */
  count = 0;
  done = 0;
  /** Buffers pinned from the start on, those behind `count` ("forwarded") included. */
  pinned = 0;
  /** The I/O to wait for, if `inFlight`; somebody else's, if `foreign`. */
  inFlight = false;
  foreign = false;
  ioHandle = 0;
  ioGeneration = 0;
  /** Blocks in the I/O in flight. */
  issued = 0;
  readonly result: AioReturn = new AioReturn();
  /** The ring that new buffers come from. Like the next two, kept from one `begin` to the next. */
  strategy: BufferStrategy | null = null;
  /** The I/O is executed by the thread that starts it. */
  synchronous = false;
  /** `start` only pins, and the first I/O is started by `wait`: for methods that would execute it at once. */
  deferred = false;
  /** Buffers that are being written so that the next block can have one; also kept: who has to wait for it begins again. */
  cleaning: Step<true> | null = null;
  /** A `wait` had to sleep, or to start an I/O. */
  waited = false;

  begin(
    reader: ForkReader,
    scope: Scope,
    buffers: Int32Array,
    mask: number,
    first: number,
    block: number,
    forwarded: number,
  ): void {
    this.reader = reader;
    this.scope = scope;
    this.buffers = buffers;
    this.mask = mask;
    this.first = first;
    this.block = block;
    this.count = 0;
    this.done = 0;
    this.pinned = forwarded;
    this.inFlight = false;
    this.foreign = false;
    this.waited = false;
  }

  /** Blocks are missing yet: `wait` must be called before the buffers are used. */
  get needsWait(): boolean {
    return this.done < this.count;
  }

  buffer(at: number): number {
    return this.buffers[(this.first + at) & this.mask] as number;
  }
}

/** A pool and where its pages are. */
export interface ManagedPool {
  readonly pool: BufferPool;
  readonly bufferIo: BufferIo;
  readonly contentLocks: ContentLocks;
  /** Of the instance; null for a private pool: see LockedPool. */
  readonly slots: Slots | null;
  /** The pages' memories, and the number of the first of them. */
  readonly memories: readonly Uint8Array<SharedArrayBuffer>[];
  readonly firstMemory: number;
  /** What is done about the buffers of an I/O. */
  readonly callback: number;
  readonly pageSettings: PageSettings;
  /** The pool is this backend's own: so are its relations, and I/O on it is its own to run. */
  readonly isPrivate: boolean;
}

export class BufferManager implements ScopedResources {
  readonly aio: Aio;
  readonly pool: BufferPool;
  readonly bufferIo: BufferIo;
  readonly isPrivate: boolean;
  /** Locks on the pool's pages that this backend holds. */
  readonly locks: BufferLocks;
  /** Writes the pool's dirty pages. */
  readonly writeBack: WriteBack;
  readonly #memories: readonly Uint8Array<SharedArrayBuffer>[];
  readonly #firstMemory: number;
  readonly #callback: number;
  readonly #pageSettings: PageSettings;
  readonly #pages: (Uint8Array<SharedArrayBuffer> | undefined)[] = [];
  /** Buffers of the I/O being made. */
  readonly #claimed: Int32Array = new Int32Array(128);
  /** For all to see. */
  readonly counts: BufferCounts;
  /** Misses, hits and joined reads of this backend. */
  misses = 0;
  hits = 0;
  joins = 0;

  /** `makeWriteBack` is given what finds a buffer's page. */
  constructor(
    aio: Aio,
    managed: ManagedPool,
    makeWriteBack: (page: (buffer: number) => Uint8Array) => WriteBack,
  ) {
    this.aio = aio;
    this.pool = managed.pool;
    this.bufferIo = managed.bufferIo;
    this.isPrivate = managed.isPrivate;
    this.counts = aio.thread.stats.buffersOf(managed.isPrivate ? 'temp relation' : 'relation');
    this.pool.counts = this.counts;
    this.#memories = managed.memories;
    this.#firstMemory = managed.firstMemory;
    this.#callback = managed.callback;
    this.#pageSettings = managed.pageSettings;
    const { contentLocks: locks, bufferIo, slots } = managed;
    const page = (buffer: number): Uint8Array<SharedArrayBuffer> => this.page(buffer);
    this.locks = new BufferLocks({ locks, bufferIo, slots, slot: aio.thread.slot, page });
    this.writeBack = makeWriteBack(page);
    aio.addScopedResources(this.locks); // before the pins that they rely on
    aio.addScopedResources(this);
  }

  reader(relation: ReadableRelation, fork: Fork, flags = 0): ForkReader {
    const { tablespace, database, relation: number, backend } = relation.locator;
    checkFork(fork);
    assert((backend !== undefined) === this.isPrivate, 'a relation is read through the pool that it is in');
    return {
      relation,
      fork,
      tag: makeForkTag(relation.directoryNumber, tablespace, database, number, fork),
      flags,
    };
  }

  /** The page of a buffer, in shared memory. The caller must have it pinned. */
  page(buffer: number): Uint8Array<SharedArrayBuffer> {
    return (this.#pages[buffer] ??= this.#makePage(buffer));
  }

  #makePage(buffer: number): Uint8Array<SharedArrayBuffer> {
    const memory = this.#memories[buffer >>> MEMORY_SHIFT] as Uint8Array<SharedArrayBuffer>;
    return memory.subarray(this.#offset(buffer), this.#offset(buffer) + BLOCK_SIZE);
  }

  /** Byte offset within the buffer's memory. */
  #offset(buffer: number): number {
    return (buffer & (MEMORY_BLOCKS - 1)) * BLOCK_SIZE;
  }

  // --- starting ----------------------------------------------------------------------------------

  /**
   * Step: starts reading up to `wanted` blocks. Afterwards `op.count` says how many blocks the operation is
   * about (at least one), and `op.needsWait` whether it must be waited for. Buffers pinned behind those are
   * counted by `op.pinned`; pass them to the next operation as forwarded, or unpin them.
   */
  start(op: ReadBuffersOperation, wanted: number): true | Pending {
    const missing = this.#pinRange(op, wanted);
    if (missing === PENDING) return PENDING;
    if (missing === 0) return true;
    if (op.deferred) {
      op.count = missing;
      return true;
    }
    for (;;) {
      const issued = this.#issue(op, missing);
      if (issued === PENDING) return PENDING;
      if (issued > 0) {
        op.count = issued;
        return true;
      }
    }
  }

  /** Pins from where the operation stands; returns how many blocks are to be read, 0 when the first is a hit. */
  #pinRange(op: ReadBuffersOperation, wanted: number): number | Pending {
    const { pool } = this;
    const { tag } = op.reader;
    for (let at = 0; at < wanted; at++) {
      let valid: boolean;
      if (at < op.pinned) {
        valid = this.bufferIo.isValid(op.buffer(at));
      } else {
        const pinned = this.#pinNext(op, tag, at);
        if (pinned === PENDING) return PENDING;
        if (!pinned) return at; // a shorter read: nobody waits with pins in hand for others' pins
        valid = pool.foundValid;
      }
      if (!valid) continue;
      if (at > 0) return at; // a hit ends the run; its pin is forwarded
      op.count = 1;
      op.done = 1;
      this.hit(op.strategy);
      return 0;
    }
    return wanted;
  }

  /** False when the pool has no buffer to give, or only dirty ones, and the operation has some already. */
  #pinNext(op: ReadBuffersOperation, tag: ForkTag, at: number): boolean | Pending {
    for (;;) {
      try {
        if (op.cleaning !== null && this.#clean(op) === PENDING) return PENDING;
        const block = (op.block + at) | 0;
        const buffer = this.pool.pinBlock(tag, block, op.scope, op.strategy);
        if (buffer === DIRTY_VICTIMS) {
          if (at > 0) return false;
          op.cleaning = this.cleaningVictims();
          continue;
        }
        op.buffers[(op.first + at) & op.mask] = buffer;
        op.pinned = at + 1;
        return true;
      } catch (error) {
        if (!isOutOfBuffers(error)) throw error;
        // What is over, and nobody has waited for, keeps its pins on private buffers until it is reclaimed.
        if (this.isPrivate && this.aio.reclaimWhatIsOver() > 0) continue;
        if (at === 0) throw error;
        return false;
      }
    }
  }

  #clean(op: ReadBuffersOperation): true | Pending {
    const step = op.cleaning as Step<true>;
    op.cleaning = null;
    if (step() !== PENDING) return true;
    op.cleaning = step;
    return PENDING;
  }

  /** Step: writes what stood in the way of a victim, and lets the pool look there first. */
  cleaningVictims(): Step<true> {
    const victims = [...this.pool.dirtyVictims];
    const step = this.writeBack.cleaning(victims);
    return () => {
      if (step() === PENDING) return PENDING;
      this.pool.cleaned.push(...victims.reverse());
      return true;
    };
  }

  /**
   * Starts one I/O, or joins one, for blocks from `op.done` to at most `limit`. Returns how many blocks are
   * dealt with (in flight or found to be there), 0 to be called again. Waits by returning PENDING.
   */
  #issue(op: ReadBuffersOperation, limit: number): number | Pending {
    const { bufferIo, aio } = this;
    const first = op.buffer(op.done);
    op.reader.relation.prepare(op.reader.fork, op.block + op.done);
    const io = aio.acquire(op.scope, op.result);
    if (io === PENDING) return PENDING;
    const claim = bufferIo.claim(first);
    if (claim !== Claim.READY) {
      aio.release(io);
      return claim === Claim.ALREADY_DONE ? this.#alreadyDone(op) : this.#join(op, first);
    }
    let count = 1;
    const memory = first >>> MEMORY_SHIFT;
    while (op.done + count < limit) {
      const next = op.buffer(op.done + count);
      if (next >>> MEMORY_SHIFT !== memory || bufferIo.claim(next) !== Claim.READY) break;
      count++;
    }
    this.misses += count;
    io.setMemory(this.#firstMemory + memory);
    if (op.strategy !== null) io.context = op.strategy.context;
    if (this.isPrivate) io.setFlag(HandleFlag.REFERENCES_LOCAL);
    if (op.synchronous) io.setFlag(HandleFlag.SYNCHRONOUS);
    for (let at = 0; at < count; at++) {
      const buffer = op.buffer(op.done + at);
      this.#claimed[at] = buffer;
      io.appendIov(this.#offset(buffer), BLOCK_SIZE);
    }
    io.setHandleData(this.#claimed, 0, count);
    io.registerCallback(this.#callback, op.reader.flags | this.#pageSettings.flags);
    op.ioHandle = io.index;
    op.ioGeneration = io.generation;
    op.inFlight = true;
    op.foreign = false;
    op.issued = count;
    try {
      op.reader.relation.startReadv(io, op.reader.fork, op.block + op.done, count);
    } catch (error) {
      if (aio.isHandedOut(io)) this.#takeBack(op, io, count);
      throw error;
    }
    return count;
  }

  /** Of an I/O that could not be started, as when the last descriptor has gone since its file was opened. */
  #takeBack(op: ReadBuffersOperation, io: IoHandle, count: number): void {
    op.inFlight = false;
    for (let at = 0; at < count; at++) this.bufferIo.giveUp(op.buffer(op.done + at));
    this.aio.release(io);
    this.misses -= count;
  }

  #alreadyDone(op: ReadBuffersOperation): number {
    op.done++;
    op.inFlight = false;
    this.hit(op.strategy);
    return 1;
  }

  #join(op: ReadBuffersOperation, buffer: number): number | Pending {
    const { bufferIo, aio } = this;
    if (!bufferIo.hasReference) {
      const waited = bufferIo.waitForClaim(aio.waits, buffer);
      return waited === PENDING ? PENDING : 0;
    }
    op.ioHandle = bufferIo.ioHandle;
    op.ioGeneration = bufferIo.ioGeneration;
    op.inFlight = true;
    op.foreign = true;
    op.issued = 1;
    this.joins++;
    return 1;
  }

  // --- waiting -----------------------------------------------------------------------------------

  /**
   * Step: until all of the operation's blocks are there. Returns whether it really had to wait: to sleep, or to
   * start an I/O, the first of a deferred operation or one more after a partial read. Throws what went wrong
   * with its own reads.
   */
  wait(op: ReadBuffersOperation): boolean | Pending {
    for (;;) {
      if (op.inFlight) {
        if (this.aio.waitFor(op.ioHandle, op.ioGeneration) === PENDING) {
          op.waited = true;
          return PENDING;
        }
        op.inFlight = false;
        if (op.foreign) this.#finishJoin(op);
        else this.#finishOwn(op);
      }
      if (op.done >= op.count) return op.waited;
      op.waited = true;
      if (this.#issue(op, op.count) === PENDING) return PENDING;
    }
  }

  /** Tells the kernel that the operation's blocks will be read soon; false when it cannot be told. */
  advise(op: ReadBuffersOperation): boolean {
    return op.reader.relation.prefetch(op.reader.fork, op.block, op.count);
  }

  /** Somebody else's failure is not ours: what is not there is read again. */
  #finishJoin(op: ReadBuffersOperation): void {
    if (!this.bufferIo.isValid(op.buffer(op.done))) return;
    op.done++;
    this.hit(op.strategy);
  }

  /** A block was there already, or somebody else has read it. */
  hit(strategy: BufferStrategy | null): void {
    this.hits++;
    this.counts.hit(strategy === null ? 0 : strategy.context);
  }

  #finishOwn(op: ReadBuffersOperation): void {
    const { result } = op;
    assert(result.status !== ResultStatus.UNKNOWN, 'a read was reclaimed without its result');
    if (result.status === ResultStatus.ERROR) throw errorOf(this.aio, result);
    if (result.status === ResultStatus.WARNING) this.aio.thread.log(warningOf(this.aio, result));
    op.done += result.value; // fewer than issued after a partial read: the rest is issued again
  }

  // --- pins --------------------------------------------------------------------------------------

  /** Unpins everything that an operation holds. I/O in flight has pins of its own. */
  unpinAll(op: ReadBuffersOperation): void {
    for (let at = 0; at < op.pinned; at++) this.pool.unpin(op.buffer(at), op.scope);
    op.pinned = 0;
  }

  releaseScope(scope: Scope, failed: boolean): void {
    const which = this.isPrivate ? 1 : 0;
    this.pool.lookAheadPins -= scope.lookAheadPins[which];
    scope.lookAheadPins[which] = 0;
    if (scope.pinCount === 0) return;
    let released = 0;
    for (const buffer of [...this.pool.pins.ofScope(scope)]) {
      const count = this.pool.pins.countIn(buffer, scope);
      for (let left = count; left > 0; left--) this.pool.unpin(buffer, scope);
      released += count;
    }
    if (failed || released === 0) return;
    const kind = this.isPrivate ? 'private buffer' : 'buffer';
    const message = `${released} ${kind} pin(s) were not released by their scope`;
    this.aio.thread.log({ level: 'warning', message });
  }
}
