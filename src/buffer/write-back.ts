/**
 * Writing dirty pages to their files: what a backend has for one pool, and one pass over some of its buffers
 * (`Flush`). PostgreSQL's FlushBuffer, as AIO.
 *
 *   look for dirty neighbours ▶ flush the log up to their LSNs ▶ acquire a handle, lease I/O memory ▶ claim each buffer,
 *   copy its page under its content lock in share mode, set the copy's checksum ▶ one I/O for all
 *
 * From the handle on nothing waits, so nobody waits with a claim, a lock, a handle or memory in hand; with one
 * exception, below. Readers and changers go on while the copies are written. A page that is changed meanwhile stays
 * dirty (descriptor.ts: JUST_DIRTIED).
 *
 * Log before data: a copy whose LSN is not durable is not written. A page that is changed again each time that the log has
 * been flushed for it is locked in share mode while the log is flushed once more, as PostgreSQL does with every page.
 */
import type { Aio } from '../aio/aio.js';
import type { IoHandle } from '../aio/handle.js';
import { errorOf } from '../aio/report.js';
import { AioReturn, ResultStatus } from '../aio/result.js';
import type { Scope } from '../aio/scope.js';
import { ClosedError, InstanceCrashedError } from '../base/errors.js';
import { BLOCK_SIZE } from '../base/settings.js';
import { constants } from 'node:os';
import type { PageKernel } from '../page/page-kernel.js';
import { isNewPage, PageHeaderOffset, pageLsn } from '../page/page-header.js';
import type { IoMemory } from '../shmem/io-memory.js';
import { PENDING, type Pending, type Step } from '../shmem/wait.js';
import type { Fork } from '../smgr/relation.js';
import type { SmgrRelation, StorageManager } from '../smgr/smgr.js';
import { writeErrorOf } from '../smgr/smgr-write.js';
import { makingRoom } from '../smgr/sync-files.js';
import type { SyncRequests } from '../smgr/sync-requests.js';
import { SEGMENT_BLOCKS } from '../smgr/relation.js';
import { Counter } from '../stats/counters.js';
import { Claim, type BufferIo } from './buffer-io.js';
import type { ContentLocks } from './content-lock.js';
import { DescriptorLayout, makeForkTag, placeAt, type ForkTag } from './descriptor.js';
import { SHARE_LOCK_PLACES } from './region.js';
import type { BufferPool } from './pool.js';
import { PINNED_BY_ISSUER } from './shared-writev.js';

const AT = DescriptorLayout.at;
const TAG_WORDS = [AT.block, AT.relation, AT.database, AT.tablespace, AT.forkDirectory];
const IN_FLIGHT_MAX = 8;
/** So often the log is flushed for a page that is changed again meanwhile, before changes are kept out. */
const LOG_TRIES_MAX = 3;
const { ENOSPC } = constants.errno;

/** Makes the log durable before data is written. */
export interface WalFlusher {
  /** Whether the LSNs of pages in a data directory, by its number, are positions in this log. */
  covers(directory: number): boolean;
  /** An LSN: all before it is durable. */
  readonly flushedUpTo: number;
  /** Step: until all before `lsn` is durable. */
  flushing(lsn: number): Step<unknown>;
}

export interface WriteBackParts {
  readonly aio: Aio;
  readonly scope: Scope;
  readonly pool: BufferPool;
  readonly bufferIo: BufferIo;
  readonly locks: ContentLocks;
  readonly smgr: StorageManager;
  /** Where copies are made: leases, bytes, number and checksums of that memory. */
  readonly bounces: IoMemory;
  readonly bytes: Uint8Array;
  readonly memory: number;
  readonly kernel: PageKernel;
  /** Null: what is written is never synchronized. */
  readonly syncRequests: SyncRequests | null;
  /** What is done about the buffers of a write. */
  readonly callback: number;
  /** Blocks in one write. */
  readonly combineLimit: number;
  /** The backend whose private relations the pool holds. */
  readonly owner: number | undefined;
  page(buffer: number): Uint8Array;
}

/** Where a buffer's page belongs. */
interface Place {
  readonly tag: ForkTag;
  readonly directory: number;
  readonly fork: Fork;
  readonly block: number;
  readonly relation: SmgrRelation;
}

export class WriteBack {
  readonly parts: WriteBackParts;
  /** Null: there is no log. */
  walFlusher: WalFlusher | null = null;

  constructor(parts: WriteBackParts) {
    this.parts = parts;
  }

  /**
   * Step: until the pages that were dirty in these buffers are in their files; not synchronized. Returns how many
   * were written. Throws the first error at the end; the pages stay dirty then.
   */
  flushing(buffers: readonly number[]): Step<number> {
    const flush = new Flush(this, buffers, true);
    return () => {
      const over = flush.step();
      if (over === PENDING) return PENDING;
      this.parts.aio.thread.counters.count(Counter.pagesFlushed, flush.written);
      if (flush.error !== null) throw flush.error;
      return flush.written;
    };
  }

  /**
   * Step: the same for buffers that are to be clean so that others can take their place. Leaves out pages that are
   * being changed again and again. An error is thrown if not a single one is clean, and logged otherwise.
   */
  cleaning(buffers: readonly number[], who: 'background' | 'victim' = 'victim'): Step<true> {
    const flush = new Flush(this, buffers, false);
    return () => {
      if (flush.step() === PENDING) return PENDING;
      const { error } = flush;
      const counter = who === 'background' ? Counter.pagesCleaned : Counter.pagesEvicted;
      this.parts.aio.thread.counters.count(counter, flush.written);
      if (error === null) return true;
      if (buffers.every((buffer) => this.parts.bufferIo.isDirty(buffer))) throw error;
      this.parts.aio.thread.log({ level: 'warning', message: error.message });
      return true;
    };
  }

  /** Of a dirty buffer that need not be pinned; null when it is becoming another block's just now. */
  placeOf(buffer: number): Place | null {
    const { pool, smgr, owner, bufferIo } = this.parts;
    const { array } = pool.words;
    const base = pool.base(buffer);
    const words = array.slice(base, base + DescriptorLayout.words);
    const again = bufferIo.isDirty(buffer) ? array.slice(base, base + DescriptorLayout.words) : null;
    if (again === null || TAG_WORDS.some((word) => words[word] !== again[word])) return null;
    const { directory, tablespace, database, relation, fork, block } = placeAt(words, 0);
    return {
      tag: makeForkTag(directory, tablespace, database, relation, fork),
      directory,
      fork: fork as Fork,
      block,
      relation: smgr.ofTag(directory, { tablespace, database, relation, backend: owner }),
    };
  }
}

/** A write that is not over. */
interface Flight {
  readonly index: number;
  readonly generation: number;
  readonly result: AioReturn;
  readonly buffers: readonly number[];
}

class Flush {
  written = 0;
  error: Error | null = null;
  readonly #owner: WriteBack;
  readonly #parts: WriteBackParts;
  readonly #list: number[];
  /** Whether pages that are changed all the time are written as well. */
  readonly #all: boolean;
  readonly #flights: Flight[] = [];
  /** Buffers whose last write did not come further at all. */
  readonly #stalled = new Set<number>();
  /** Buffers that this pass has written or tried to: what was dirty when it began is covered. */
  readonly #started = new Set<number>();
  #next = 0;
  /** Tries of the log for the next buffer. */
  #logTries = 0;
  /** What is waited for before the next buffer is looked at again. */
  #before: Step<unknown> | null = null;
  /** The next buffer's content lock is held in share mode while the log is flushed. */
  #locked = -1;

  constructor(owner: WriteBack, buffers: readonly number[], all: boolean) {
    this.#owner = owner;
    this.#parts = owner.parts;
    this.#list = [...buffers];
    this.#all = all;
  }

  step(): true | Pending {
    for (;;) {
      const buffer = this.#list[this.#next];
      if (buffer !== undefined && this.#flights.length < IN_FLIGHT_MAX) {
        if (this.#tryNext(buffer) === PENDING) return PENDING;
      } else if (this.#flights.length > 0) {
        if (this.#finishOldest() === PENDING) return PENDING;
      } else {
        return true;
      }
    }
  }

  /** One error ends the work on one buffer, not on the others. */
  #tryNext(buffer: number): true | Pending {
    try {
      if (this.#before !== null) {
        if (this.#before() === PENDING) return PENDING;
        this.#before = null;
      }
      return this.#writeFrom(buffer);
    } catch (error) {
      this.#before = null;
      if (error instanceof ClosedError || error instanceof InstanceCrashedError) {
        this.#unlock();
        throw error;
      }
      // What was dropped meanwhile, file and all, need not be written.
      if (this.#parts.bufferIo.isDirty(buffer))
        this.#note(error instanceof Error ? error : new Error(String(error)));
      this.#goOn();
      return true;
    }
  }

  #goOn(): void {
    this.#unlock();
    this.#logTries = 0;
    this.#next++;
  }

  #unlock(): void {
    if (this.#locked >= 0) this.#parts.locks.unlockShared(this.#locked);
    this.#locked = -1;
  }

  #note(error: Error): void {
    if (this.error === null) this.error = error;
    else this.#parts.aio.thread.log({ level: 'warning', message: error.message });
  }

  // --- starting a write --------------------------------------------------------------------------

  #writeFrom(buffer: number): true | Pending {
    const { bufferIo } = this.#parts;
    if (!bufferIo.isDirty(buffer) || this.#started.has(buffer)) {
      this.#goOn();
      return true;
    }
    if (bufferIo.isInProgress(buffer)) return this.#waitForOther(buffer);
    const place = this.#owner.placeOf(buffer);
    if (place === null) return true;
    const buffers = this.#neighbours(buffer, place);
    if (this.#needsLog(buffers, place)) return true;
    place.relation.prepareWrite(place.fork, place.block);
    return this.#start(buffers, place);
  }

  /** Another's write of the page. */
  #waitForOther(buffer: number): true | Pending {
    const { aio, bufferIo } = this.#parts;
    const { ioHandle, ioGeneration, hasReference } = bufferIo;
    return hasReference ? aio.waitFor(ioHandle, ioGeneration) : bufferIo.waitForClaim(aio.waits, buffer);
  }

  /** Dirty blocks of the same file that follow, and are not being written. */
  #neighbours(first: number, { tag, block, relation }: Place): number[] {
    const { pool, bufferIo, combineLimit } = this.#parts;
    const found = [first];
    const limit = this.#locked >= 0 ? 1 : Math.min(combineLimit, relation.maxCombine(block));
    while (found.length < limit) {
      const next = pool.find(tag, (block + found.length) | 0);
      if (next < 0 || this.#started.has(next) || !bufferIo.isDirty(next) || bufferIo.isInProgress(next))
        break;
      found.push(next);
    }
    return found;
  }

  /** True: the log is to be flushed first, by `#before`. What is seen here is looked at again in the copies. */
  #needsLog(buffers: readonly number[], { directory }: Place): boolean {
    const { walFlusher } = this.#owner;
    if (walFlusher?.covers(directory) !== true) return false;
    const lsn = Math.max(...buffers.map((buffer) => pageLsn(viewOf(this.#parts.page(buffer)))));
    if (lsn <= walFlusher.flushedUpTo) return false;
    this.#before = walFlusher.flushing(lsn);
    return true;
  }

  #start(buffers: readonly number[], place: Place): true | Pending {
    const { aio, scope, bounces, syncRequests } = this.#parts;
    const bytes = buffers.length * BLOCK_SIZE;
    const result = new AioReturn();
    const io = aio.acquire(scope, result);
    if (io === PENDING) return PENDING;
    const offset = bounces.tryLease(bytes);
    const claimed: number[] = [];
    try {
      if (offset < 0) {
        this.#before = this.#leasing(bytes);
        return true;
      }
      if (syncRequests !== null && !this.#reserve(syncRequests, io, place)) return true;
      this.#claim(buffers, place, offset, claimed);
      if (claimed.length === 0) return this.#notClaimed(buffers[0] as number);
      this.#issue(io, claimed, place, offset, result);
      return true;
    } finally {
      if (aio.isHandedOut(io)) {
        for (const buffer of claimed) this.#giveUp(buffer);
        aio.release(io);
        if (offset >= 0) bounces.releaseWhole(offset);
      }
    }
  }

  /**
   * Until there may be so much memory: own writes give theirs back when they are reclaimed, which nobody else does. It is given back at once, as nobody waits for a handle with memory in hand. */
  #leasing(bytes: number): Step<unknown> {
    const { aio, bounces } = this.#parts;
    return () => {
      const reclaimed = aio.reclaimSome();
      if (reclaimed !== false) return reclaimed;
      const offset = bounces.lease(aio.waits, bytes);
      if (offset === PENDING) return PENDING;
      bounces.release(offset, bytes);
      return true;
    };
  }

  /** False: there is no room for the file's request, which `#before` makes. */
  #reserve(requests: SyncRequests, io: IoHandle, { directory, relation, fork, block }: Place): boolean {
    const { aio, scope, smgr } = this.#parts;
    const segment = Math.floor(block / SEGMENT_BLOCKS);
    if (requests.reserve(io, { directory, locator: relation.locator, fork, segment })) return true;
    this.#before = makingRoom({ aio, scope, smgr, requests });
    return false;
  }

  /** Claims and copies from the first buffer on, up to one that is not as it was; what it throws leaves the caller `claimed`. */
  #claim(buffers: readonly number[], place: Place, offset: number, claimed: number[]): void {
    const { tag, block } = place;
    for (const buffer of buffers) {
      if (this.#parts.bufferIo.claimWrite(buffer, this.#isPinned(buffer)) !== Claim.READY) break;
      const at = claimed.length;
      claimed.push(buffer);
      if (
        this.#isBlock(buffer, tag, block + at) &&
        this.#copy(buffer, place, block + at, offset + at * BLOCK_SIZE)
      )
        continue;
      claimed.pop();
      this.#giveUp(buffer);
      break;
    }
  }

  #isPinned(buffer: number): boolean {
    return this.#parts.pool.pins.count(buffer) > 0;
  }

  #giveUp(buffer: number): void {
    this.#parts.bufferIo.giveUpWrite(buffer, this.#isPinned(buffer));
  }

  /** The tag of a claimed buffer is stable. */
  #isBlock(buffer: number, tag: ForkTag, block: number): boolean {
    const { pool } = this.#parts;
    const { words } = pool;
    const base = pool.base(buffer);
    return (
      words.get(base + AT.block) === (block | 0) &&
      words.get(base + AT.relation) === tag.relation &&
      words.get(base + AT.forkDirectory) === tag.forkDirectory &&
      words.get(base + AT.database) === tag.database &&
      words.get(base + AT.tablespace) === tag.tablespace
    );
  }

  /** False: the page is being changed, or has been so that the log must be flushed for it again. */
  #copy(buffer: number, { directory }: Place, block: number, offset: number): boolean {
    const { locks, bytes, kernel } = this.#parts;
    if (!locks.tryLockShared(buffer, SHARE_LOCK_PLACES)) return false;
    const copy = bytes.subarray(offset, offset + BLOCK_SIZE);
    copy.set(this.#parts.page(buffer));
    locks.unlockShared(buffer);
    const { walFlusher } = this.#owner;
    if (walFlusher?.covers(directory) === true && pageLsn(viewOf(copy)) > walFlusher.flushedUpTo)
      return false;
    const view = viewOf(copy);
    if (!isNewPage(view)) view.setUint16(PageHeaderOffset.checksum, kernel.checksum(offset, block), true);
    return true;
  }

  /** Why nothing could be claimed is found out by looking again; a page that is being changed is waited for. */
  #notClaimed(buffer: number): true {
    const { locks } = this.#parts;
    if (this.#owner.walFlusher === null || ++this.#logTries < LOG_TRIES_MAX) {
      this.#before = () => locks.waitForChanger(buffer);
    } else if (!this.#all) {
      this.#goOn();
    } else if (this.#locked < 0) {
      this.#before = () => {
        if (locks.lockShared(buffer, SHARE_LOCK_PLACES) === PENDING) return PENDING;
        this.#locked = buffer;
        return true;
      };
    }
    return true;
  }

  #issue(
    io: IoHandle,
    claimed: readonly number[],
    { relation, fork, block }: Place,
    offset: number,
    result: AioReturn,
  ): void {
    const { memory, callback } = this.#parts;
    const words = claimed.map((buffer) => (this.#isPinned(buffer) ? buffer | PINNED_BY_ISSUER : buffer));
    const { index, generation } = io;
    io.setMemory(memory);
    io.appendIov(offset, claimed.length * BLOCK_SIZE);
    io.setHandleData(words, 0, words.length);
    io.registerCallback(callback);
    relation.startWritev(io, fork, block, claimed.length);
    this.#flights.push({ index, generation, result, buffers: claimed });
    for (const buffer of claimed) this.#started.add(buffer);
    this.#goOn();
  }

  // --- finishing ---------------------------------------------------------------------------------

  #finishOldest(): true | Pending {
    const { aio } = this.#parts;
    const { index, generation, result, buffers } = this.#flights[0] as Flight;
    if (aio.waitFor(index, generation) === PENDING) return PENDING;
    this.#flights.shift();
    if (result.status === ResultStatus.UNKNOWN) throw new ClosedError('this backend');
    if (result.status === ResultStatus.ERROR) {
      this.#note(errorOf(aio, result));
      return true;
    }
    this.written += result.value;
    if (result.value < buffers.length) this.#continueWith(buffers.slice(result.value), result);
    return true;
  }

  /** The kernel wrote less than it was given. It is asked again, and says why if it writes nothing at all. */
  #continueWith(rest: readonly number[], result: AioReturn): void {
    const first = rest[0] as number;
    if (result.value === 0 && this.#stalled.has(first)) {
      this.#note(writeErrorOf(result, ENOSPC));
      return;
    }
    if (result.value === 0) this.#stalled.add(first);
    for (const buffer of rest) this.#started.delete(buffer);
    this.#list.push(...rest);
  }
}

function viewOf(page: Uint8Array): DataView {
  return new DataView(page.buffer, page.byteOffset, PageHeaderOffset.pruneXid);
}
