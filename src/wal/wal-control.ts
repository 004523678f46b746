/**
 * The WAL's positions in shared memory, and the rules by which they move: PostgreSQL's XLogCtl.
 *
 *   reserved ≥ complete ≥ issued ≥ written ≥ flushed        (complete is found by looking, see `completeUpTo`)
 *
 * Records are inserted in three moves: space is reserved under `insertLock`; the record is copied into the buffers
 * without a lock, beside others; `inserting` is taken back. Whoever wants the WAL durable up to some place asks `next`
 * what is to be done for it: write these pages, sync, or wait for that I/O. There is no leader: any thread does any
 * of it, one thing at a time, and what it has done is in shared memory, for all.
 *
 * Who writes which word, and what orders it:
 *   insertLock    spin lock of the four that follow
 *   reserved      its holder: the end of the last record that has space. Read without the lock.
 *   previous      its holder: where that record starts
 *   redo          its holder: where the redo of the latest checkpoint begins. Whoever has space for a record behind it
 *                 knows that page changes need images of pages that were not changed since
 *   isClosed      its holder: nothing but the checkpoint of the shutdown comes after what has space
 *   inserting     one for each slot. Its own thread: where its record starts, before `reserved` covers it, so that who
 *                 sees the space taken sees by whom; IDLE again when the record is copied, which publishes its bytes
 *   writeLock     spin lock of all that follow
 *   issued        its holder: up to here pages were given to a flight
 *   flights       its holder: writes that were begun and are not yet counted in `written`, oldest first
 *   written       its holder: up to here all is in the files. Read without the lock
 *   flushed       its holder: up to here all is durable. Read without the lock
 *   sync          its holder: the fsync in flight, and where it will have flushed to
 *   writeFailures, writeErrno   its holder: counted up when a flight failed, for who waits
 *   syncErrno     its holder: not 0 for ever once an fsync has failed: what was written may be lost, whatever a later
 *                 fsync says
 *
 * Flights never overlap in a page: two writes of a page that grows are not ordered, and the older could win. So the
 * page that `issued` ends in is not given out again until its flight is over. A flight that fails, or whose thread
 * ended before it started, stays in its place, and is written again by whoever comes.
 *
 * Commits are grouped by what is in flight. With fdatasync, who comes while one runs neither writes nor syncs: when it
 * is over, whoever is first writes and syncs all that is complete by then, for everybody. Only what has grown to
 * GATHER_BYTES is written meanwhile. With open_datasync, writes of different pages are in flight together, and so full
 * pages are written without the page behind them, which whoever needs it writes; unless it is a page or so that is full,
 * which means small records on either side of its end, and one write for both.
 *
 * A thread that ends in the critical section of a lock, or while it copies a record, crashes the instance: the record
 * would be a hole that ends the WAL for recovery, with acknowledged records behind it.
 */
import { constants as osConstants } from 'node:os';
import { assert } from '../base/assert.js';
import { ClosedError } from '../base/errors.js';
import { isFromFsync, isNotCarriedOut } from '../base/system-errors.js';
import { CACHE_LINE_WORDS, declareLayout } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { Slots } from '../shmem/slots.js';
import { lockSpin, unlockSpin } from '../shmem/spin-lock.js';
import type { SharedWords } from '../shmem/words.js';
import { afterHeader, endOfContent, pageStart } from './geometry.js';
import type { Lsn } from './lsn.js';
import { LONG_PAGE_HEADER_SIZE, WAL_PAGE_SIZE } from './page-header.js';
import { alignRecord } from './record-format.js';

const { ECANCELED, ENOSPC } = osConstants.errno;

const Layout = declareLayout(
  'WalControl',
  {
    reserved: 2,
    previous: 2,
    redo: 2,
    insertLock: 1,
    isClosed: 1,
    insertPad: CACHE_LINE_WORDS - 8,
    issued: 2,
    written: 2,
    flushed: 2,
    syncTo: 2,
    syncHandle: 1,
    syncGeneration: 1,
    isSyncing: 1,
    syncErrno: 1,
    writeFailures: 1,
    writeErrno: 1,
    flightHead: 1,
    flightTail: 1,
    writeLock: 1,
  },
  CACHE_LINE_WORDS,
);
const AT = Layout.at;

const Flight = declareLayout('WalFlight', { start: 2, end: 2, state: 1, errno: 1, handle: 1, generation: 1 });
const FLIGHT = Flight.at;
/** A power of two: they are counted modulo it. */
const FLIGHTS = 32;
/** What is less than this waits for the fsync in flight, and is written together with what comes meanwhile. */
const GATHER_BYTES = 65_536;
/** Where writes are durable by themselves: so many full pages go out alone, without the one behind that is not full. */
const ALONE_BYTES = 2 * WAL_PAGE_SIZE;

/** BEGUN: a thread is about to start its I/O, or has. AGAIN: it failed, or never began. */
export const FlightState = { BEGUN: 0, WRITTEN: 1, AGAIN: 2 } as const;

/** No insertion of this slot is going on. Above every LSN. */
const IDLE = 2 ** 53;

export interface WalRegion {
  readonly control: number;
  readonly flights: number;
  readonly inserting: number;
  readonly slots: number;
}

export interface WalShape {
  readonly segmentSize: number;
  /** Bytes of the WAL buffers, whole pages. */
  readonly bufferBytes: number;
  /** Bytes of one write at most, whole pages. */
  readonly writeBytesMax: number;
  /** Whether a write that is over is durable: open_datasync. */
  readonly writesAreDurable: boolean;
  /**
   * One flight at a time: durable writes through the page cache. What the device could not write the kernel says once to each
   * open file, so that of two at the same time one could hear of the other's failure, and the other of success.
   */
  readonly writesOneByOne: boolean;
}

export interface ReserveOptions {
  /** Of the pages that the record changes without an image: the oldest page LSN. Default: there are none. */
  readonly oldestPageLsn?: Lsn;
  /** The record is where redo begins. */
  readonly isRedo?: boolean;
  /** Told where the record begins, before it is in the buffers. */
  readonly placed?: (start: Lsn) => void;
}
const PLAIN: ReserveOptions = {};

/** FULL: of what is not written yet. STALE: a checkpoint has begun, and a page needs an image now. */
export const Reserved = { DONE: 0, FULL: 1, STALE: 2 } as const;
export type Reserved = (typeof Reserved)[keyof typeof Reserved];

/**
 * What is to be done next for a place in the WAL to become durable; the fields of WalControl say the rest. NONE: it is, or
 * never will be, as a sync has failed.
 */
export const WalTask = { NONE: 0, WRITE: 1, SYNC: 2, WAIT: 3 } as const;
export type WalTask = (typeof WalTask)[keyof typeof WalTask];

export class WalControl {
  readonly shape: WalShape;
  readonly #slots: Slots;
  readonly #slot: number;
  readonly #words: SharedWords;
  readonly #region: WalRegion;
  readonly #control: number;
  readonly #isOver: (handle: number, generation: number) => boolean;

  /** Of the last `reserve`: where the record starts and ends, and where the one before it starts. */
  start = 0;
  end = 0;
  previous = 0;
  /** Of the last `next`: the pages to write, or what to sync up to, and the flight. */
  taskStart = 0;
  taskEnd = 0;
  flight = 0;
  /** Of the last `next` that said WAIT: the I/O to wait for. */
  ioHandle = 0;
  ioGeneration = 0;

  static plan(plan: SegmentPlan, slots: number): WalRegion {
    return {
      control: plan.reserve('wal control', Layout.words),
      flights: plan.reserve('wal flights', FLIGHTS * Flight.words),
      inserting: plan.reserve('wal insertions', slots * CACHE_LINE_WORDS),
      slots,
    };
  }

  /** `isOver`: whether the I/O of a handle and generation no longer runs. */
  constructor(
    slots: Slots,
    slot: number,
    region: WalRegion,
    shape: WalShape,
    isOver: (handle: number, generation: number) => boolean,
  ) {
    this.shape = shape;
    this.#isOver = isOver;
    this.#slots = slots;
    this.#slot = slot;
    this.#words = slots.words;
    this.#region = region;
    this.#control = region.control;
  }

  /**
   * By the creator, before anybody else attaches: all up to `end` is durable, the last record starts at `previous`, and redo
   * begins at `redo`.
   */
  initialize(end: Lsn, previous: Lsn, redo: Lsn): void {
    this.#set(AT.redo, redo);
    for (const field of ['reserved', 'issued', 'written', 'flushed'] as const) this.#set(AT[field], end);
    this.#set(AT.previous, previous);
    for (let slot = 0; slot < this.#region.slots; slot++) this.#words.storeWide(this.#inserting(slot), IDLE);
  }

  #set(field: number, value: number): void {
    this.#words.storeWide(this.#control + field, value);
  }

  #get(field: number): number {
    return this.#words.loadWide(this.#control + field);
  }

  #inserting(slot: number): number {
    return this.#region.inserting + slot * CACHE_LINE_WORDS;
  }

  get reserved(): number {
    return this.#get(AT.reserved);
  }

  get written(): number {
    return this.#get(AT.written);
  }

  get flushed(): number {
    return this.#get(this.shape.writesAreDurable ? AT.written : AT.flushed);
  }

  // --- inserting ---------------------------------------------------------------------------------

  /**
   * Space for a record of so many bytes. What the fields
   * `start`, `end` and `previous` then say is this thread's until `inserted`: nobody else writes there, and nobody
   * takes it for complete. `enterPage` gets each page that the record is the first to reach, but those that it
   * fills: what is left there of the page that had the memory before must be gone before anybody else's record
   * comes into the page, so it runs under the lock.
   */
  reserve(bytes: number, enterPage: (page: Lsn) => void, options: ReserveOptions = PLAIN): Reserved {
    const { segmentSize, bufferBytes } = this.shape;
    const words = this.#words;
    lockSpin(this.#slots, this.#control + AT.insertLock, this.#slot);
    if (this.#word(AT.isClosed) !== 0 && options.isRedo !== true) {
      unlockSpin(this.#slots, this.#control + AT.insertLock, this.#slot);
      throw new ClosedError('the WAL');
    }
    const isStale = (options.oldestPageLsn ?? Infinity) <= this.#get(AT.redo);
    const reserved = this.#get(AT.reserved);
    const start = afterHeader(reserved, segmentSize);
    const end = alignRecord(endOfContent(start, bytes, segmentSize));
    const fits = pageStart(end - 1) + WAL_PAGE_SIZE - pageStart(this.#get(AT.written)) <= bufferBytes;
    if (fits && !isStale) {
      if (pageStart(end - 1) >= reserved) enterPage(pageStart(end - 1));
      this.start = start;
      this.end = end;
      this.previous = this.#get(AT.previous);
      // From here on until `inserted` this thread is in a critical section: see above.
      words.array[this.#slots.criticalWord(this.#slot)]!++;
      words.storeWide(this.#inserting(this.#slot), reserved);
      this.#set(AT.previous, start);
      this.#set(AT.reserved, end);
      if (options.isRedo === true) this.#set(AT.redo, start);
    }
    unlockSpin(this.#slots, this.#control + AT.insertLock, this.#slot);
    if (isStale) return Reserved.STALE;
    return fits ? Reserved.DONE : Reserved.FULL;
  }

  /** From now on there is no space for any record but the shutdown's checkpoint. */
  close(): void {
    lockSpin(this.#slots, this.#control + AT.insertLock, this.#slot);
    this.#setWord(AT.isClosed, 1);
    unlockSpin(this.#slots, this.#control + AT.insertLock, this.#slot);
  }

  /** Where redo begins. A change of a page that was last changed before needs an image of it. */
  get redo(): Lsn {
    return this.#get(AT.redo);
  }

  /** Where the next record begins, as things stand. */
  get nextStart(): Lsn {
    return afterHeader(this.reserved, this.shape.segmentSize);
  }

  /** How far the WAL must be written for `reserve` to have space, as things stand. */
  roomAfter(bytes: number): number {
    const { segmentSize, bufferBytes } = this.shape;
    const end = endOfContent(afterHeader(this.reserved, segmentSize), bytes, segmentSize);
    return pageStart(alignRecord(end) - 1) + WAL_PAGE_SIZE - bufferBytes;
  }

  /** Of the longest record that fits the buffers wherever it begins. */
  get recordBytesMax(): number {
    return (this.shape.bufferBytes / WAL_PAGE_SIZE - 2) * (WAL_PAGE_SIZE - LONG_PAGE_HEADER_SIZE);
  }

  /** Looks away for a moment, while others copy records. Throws when the instance has crashed. */
  waitForCopy(millis: number): void {
    Atomics.wait(this.#words.array, this.#control + AT.insertLock, this.#word(AT.insertLock), millis);
    this.#slots.checkAlive();
  }

  /** The record that `reserve` gave space is in the buffers. */
  inserted(): void {
    this.#words.storeWide(this.#inserting(this.#slot), IDLE);
    this.#words.array[this.#slots.criticalWord(this.#slot)]!--;
  }

  /** Up to here every record is in the buffers: PostgreSQL's WaitXLogInsertionsToFinish, without the waiting. */
  completeUpTo(): number {
    let complete = this.reserved; // first: who has space in it is seen below
    for (let slot = 0; slot < this.#region.slots; slot++)
      complete = Math.min(complete, this.#words.loadWide(this.#inserting(slot)));
    return complete;
  }

  // --- writing and syncing -----------------------------------------------------------------------

  /**
   * What is to be done for the WAL to be durable up to `want`, all of which is complete. With a handle, WRITE and SYNC
   * are the caller's to do with it from here on, or to say that they failed; without one (-1) this is a look.
   */
  next(want: number, handle: number, generation: number): WalTask {
    // Looks at a line of every backend, and only who writes needs it. What is issued was complete.
    const complete = this.#get(AT.issued) < want ? this.completeUpTo() : want;
    assert(complete >= want, 'what is not complete cannot become durable');
    return this.#locked(() => {
      if (this.flushed >= want) return WalTask.NONE;
      const again = this.#flightIn(FlightState.AGAIN);
      if (again !== null) return this.#write(again, handle, generation);
      const issued = this.#get(AT.issued);
      if (issued < want) {
        const gathers = !this.shape.writesAreDurable && complete - issued < GATHER_BYTES;
        if (gathers && this.#isSyncing()) return this.#waitForSync();
        return this.#issue(want, complete, handle, generation);
      }
      if (this.written < want) return this.#waitForFlight(this.#word(AT.flightHead), handle, generation);
      return this.#sync(handle, generation);
    });
  }

  #issue(want: number, complete: number, handle: number, generation: number): WalTask {
    const { segmentSize, writeBytesMax, writesAreDurable, writesOneByOne } = this.shape;
    const head = this.#word(AT.flightHead);
    const tail = this.#word(AT.flightTail);
    const issued = this.#get(AT.issued);
    const first = pageStart(issued);
    if (((tail - head) | 0) === FLIGHTS) return this.#waitForFlight(head, handle, generation);
    const last = this.#flight((tail - 1) | 0);
    // The page is in flight as it was; behind it go the bytes that have come into it since.
    const isAfterIt = first < issued || writesOneByOne;
    if (tail !== head && isAfterIt && this.#words.get(last + FLIGHT.state) !== FlightState.WRITTEN)
      return this.#waitForFlight((tail - 1) | 0, handle, generation);
    let end = Math.min(complete, first - (first % segmentSize) + segmentSize, first + writeBytesMax);
    // A page that is not full is written again, and not before this write is over: see above.
    const full = pageStart(end);
    if (writesAreDurable && want <= full && full - first >= ALONE_BYTES) end = full;
    this.taskStart = first;
    this.taskEnd = end;
    if (handle < 0) return WalTask.WRITE;
    const flight = this.#flight(tail);
    this.#words.storeWide(flight + FLIGHT.start, first);
    this.#words.storeWide(flight + FLIGHT.end, end);
    this.#set(AT.issued, end);
    this.#setWord(AT.flightTail, (tail + 1) | 0);
    return this.#write(tail, handle, generation);
  }

  #write(index: number, handle: number, generation: number): WalTask {
    const flight = this.#flight(index);
    this.taskStart = this.#words.loadWide(flight + FLIGHT.start);
    this.taskEnd = this.#words.loadWide(flight + FLIGHT.end);
    this.flight = index & (FLIGHTS - 1);
    if (handle < 0) return WalTask.WRITE;
    this.#words.set(flight + FLIGHT.handle, handle);
    this.#words.set(flight + FLIGHT.generation, generation);
    this.#words.set(flight + FLIGHT.state, FlightState.BEGUN);
    return WalTask.WRITE;
  }

  #sync(handle: number, generation: number): WalTask {
    const { segmentSize } = this.shape;
    // Here, under the lock: one that failed after the caller looked must not be followed by one that says that all is well.
    if (this.syncErrno !== 0) return WalTask.NONE;
    if (this.#isSyncing()) return this.#waitForSync();
    const flushed = this.#get(AT.flushed);
    // One file at a time.
    this.taskStart = flushed;
    this.taskEnd = Math.min(this.written, flushed - (flushed % segmentSize) + segmentSize);
    if (handle < 0) return WalTask.SYNC;
    this.#set(AT.syncTo, this.taskEnd);
    this.#setWord(AT.syncHandle, handle);
    this.#setWord(AT.syncGeneration, generation);
    this.#setWord(AT.isSyncing, 1);
    return WalTask.SYNC;
  }

  #isSyncing(): boolean {
    return this.#word(AT.isSyncing) !== 0 && !this.#isLost(this.#control + AT.syncHandle);
  }

  #waitForSync(): WalTask {
    this.ioHandle = this.#word(AT.syncHandle);
    this.ioGeneration = this.#word(AT.syncGeneration);
    return WalTask.WAIT;
  }

  /** A flight that its thread lost is the caller's. */
  #waitForFlight(index: number, handle: number, generation: number): WalTask {
    const flight = this.#flight(index);
    if (this.#isLost(flight + FLIGHT.handle)) {
      this.#words.set(flight + FLIGHT.state, FlightState.AGAIN);
      return this.#write(index, handle, generation);
    }
    this.ioHandle = this.#words.get(flight + FLIGHT.handle);
    this.ioGeneration = this.#words.get(flight + FLIGHT.generation);
    return WalTask.WAIT;
  }

  /**
   * Whether an I/O that was to begin never will: its thread ended before it started it. Were it merely over, its
   * completion would have said so here, for which it needs the lock that this thread holds.
   */
  #isLost(reference: number): boolean {
    return this.#isOver(this.#words.get(reference), this.#words.get(reference + 1));
  }

  /**
   * For the completion: a flight is over. `result`: bytes, or an errno below 0. Does nothing when it was said before:
   * completions may run twice.
   */
  flightOver(index: number, handle: number, generation: number, result: number): void {
    this.#locked(() => {
      const words = this.#words;
      const flight = this.#flight(index);
      const same =
        words.get(flight + FLIGHT.handle) === handle &&
        words.get(flight + FLIGHT.generation) === generation &&
        words.get(flight + FLIGHT.state) === FlightState.BEGUN;
      if (!same) return;
      const start = words.loadWide(flight + FLIGHT.start);
      const bytes = pageStart(words.loadWide(flight + FLIGHT.end) - 1) + WAL_PAGE_SIZE - start;
      words.set(flight + FLIGHT.state, result < bytes ? FlightState.AGAIN : FlightState.WRITTEN);
      if (result < 0) this.#writeFailed(-result);
      else if (result < bytes) this.#shortWrite(flight, start, result);
      let head = this.#word(AT.flightHead);
      const tail = this.#word(AT.flightTail);
      while (head !== tail && words.get(this.#flight(head) + FLIGHT.state) === FlightState.WRITTEN) {
        this.#set(AT.written, words.loadWide(this.#flight(head) + FLIGHT.end));
        head = (head + 1) | 0;
      }
      this.#setWord(AT.flightHead, head);
    });
  }

  /** What `next` gave this handle, and was not begun: somebody else may do it. */
  giveBack(task: WalTask, handle: number, generation: number): void {
    if (task === WalTask.WRITE) this.flightOver(this.flight, handle, generation, -ECANCELED);
    else this.#locked(() => this.#setWord(AT.isSyncing, 0));
  }

  /** What is written stays so, and whoever goes on with the rest is told why, if there is a reason: it may be a full disk. */
  #shortWrite(flight: number, start: number, bytes: number): void {
    const whole = bytes - (bytes % WAL_PAGE_SIZE);
    // Not a page, and no reason: PostgreSQL takes it for a full disk, too. Written again and again, it could go on for ever.
    if (whole === 0) this.#writeFailed(ENOSPC);
    else this.#words.storeWide(flight + FLIGHT.start, start + whole);
  }

  #writeFailed(errno: number): void {
    if (isNotCarriedOut(errno)) return; // whoever waits does it again
    this.#setWord(AT.writeErrno, errno);
    this.#setWord(AT.writeFailures, (this.#word(AT.writeFailures) + 1) | 0);
  }

  /** As `flightOver`, for the fsync. One that failed is final: see above. */
  syncOver(handle: number, generation: number, errno: number): void {
    this.#locked(() => {
      const same = this.#word(AT.syncHandle) === handle && this.#word(AT.syncGeneration) === generation;
      if (!same || this.#word(AT.isSyncing) === 0) return;
      if (errno === 0) this.#set(AT.flushed, this.#get(AT.syncTo));
      else if (isFromFsync(errno)) this.#setWord(AT.syncErrno, errno);
      else this.#writeFailed(errno);
      this.#setWord(AT.isSyncing, 0);
    });
  }

  /** How many writes have failed so far, for who begins to wait. */
  get writeFailures(): number {
    return this.#words.load(this.#control + AT.writeFailures);
  }

  get writeErrno(): number {
    return this.#words.load(this.#control + AT.writeErrno);
  }

  /** Not 0: nothing becomes durable any more. */
  get syncErrno(): number {
    return this.#words.load(this.#control + AT.syncErrno);
  }

  // --- words -------------------------------------------------------------------------------------

  #flight(index: number): number {
    return this.#region.flights + (index & (FLIGHTS - 1)) * Flight.words;
  }

  /** The oldest flight in this state. */
  #flightIn(state: number): number | null {
    const tail = this.#word(AT.flightTail);
    for (let index = this.#word(AT.flightHead); index !== tail; index = (index + 1) | 0)
      if (this.#words.get(this.#flight(index) + FLIGHT.state) === state) return index;
    return null;
  }

  #word(field: number): number {
    return this.#words.get(this.#control + field);
  }

  #setWord(field: number, value: number): void {
    this.#words.store(this.#control + field, value);
  }

  #locked<T>(work: () => T): T {
    lockSpin(this.#slots, this.#control + AT.writeLock, this.#slot);
    try {
      return work();
    } finally {
      unlockSpin(this.#slots, this.#control + AT.writeLock, this.#slot);
    }
  }
}
