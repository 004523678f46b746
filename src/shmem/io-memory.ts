/**
 * Shared memory for I/O on plain files: a bounded pool of 8 kB units, leased in contiguous runs. A word a
 * unit, which says whose it is, under a spin lock; first fit from a hint, where the last search ended or what has come back
 * since begins: so a run is found at once, and it is the one that was used last, which the processor still has in its caches.
 *
 * Who writes: `hint` and the owners (slot plus one; 0: free) the holder of `lock`, which is a critical
 * section; `version` is raised after units came back, and is what waiters watch. Leases belong to the
 * threads that took them, and to the supervisor once such a thread has ended; a run that the kernel may
 * still write into is returned only after its I/O has completed.
 */
import { fail } from '../base/assert.js';
import { ClosedError, ResourceExhaustedError } from '../base/errors.js';
import { IO_MEMORY_UNIT } from '../base/settings.js';
import { broadcast, CONDITION_WORDS_MAX } from './condition.js';
import { CACHE_LINE_WORDS, declareLayout } from './layout.js';
import type { SegmentPlan } from './segment.js';
import type { Slots } from './slots.js';
import { lockSpin, unlockSpin } from './spin-lock.js';
import { WaitEvent, type Pending, type Waits } from './wait.js';

const IoMemoryLayout = declareLayout(
  'IoMemory',
  { lock: 1, hint: 1, version: 1, waiters: CONDITION_WORDS_MAX },
  CACHE_LINE_WORDS,
);
const AT = IoMemoryLayout.at;
/** A quarter, as large as the pieces are at most that plain files are read in, and what O_DIRECT reads around one. */
const RESERVED_SHARE = 4;
const RESERVED_EXTRA = 8192;

export interface IoMemoryRegion {
  readonly start: number;
  readonly units: number;
  /** Where the units begin in their memory, in bytes. */
  readonly origin: number;
}

export class IoMemory {
  readonly #slots: Slots;
  readonly #slot: number;
  readonly #region: IoMemoryRegion;
  readonly #owners: number;
  /** Units of each of this thread's leases, by offset. */
  readonly #leases = new Map<number, number>();
  #closed = false;

  static plan(plan: SegmentPlan, bytes: number, origin = 0, name = 'io memory'): IoMemoryRegion {
    const units = bytes / IO_MEMORY_UNIT;
    return { start: plan.reserve(name, IoMemoryLayout.words + units), units, origin };
  }

  constructor(slots: Slots, slot: number, region: IoMemoryRegion) {
    this.#slots = slots;
    this.#slot = slot;
    this.#region = region;
    this.#owners = region.start + IoMemoryLayout.words;
  }

  /** Bytes in all. */
  get capacity(): number {
    return this.#region.units * IO_MEMORY_UNIT;
  }

  /** Bytes of which `tryLeaseLong` takes nothing. */
  get reserved(): number {
    const bytes = this.capacity / RESERVED_SHARE + RESERVED_EXTRA;
    return Math.min(this.#region.units, Math.ceil(bytes / IO_MEMORY_UNIT)) * IO_MEMORY_UNIT;
  }

  /** Byte offset of a free run of at least `bytes`, or -1. */
  tryLease(bytes: number): number {
    return this.#tryLease(bytes, 0);
  }

  /**
   * As `tryLease`, for who keeps it for as long as they like. That is behind what is `reserved`, where in time all comes
   * back: so who waits for a lease no longer than that gets it, however scattered the ones are that are kept.
   */
  tryLeaseLong(bytes: number): number {
    return this.#tryLease(bytes, this.reserved / IO_MEMORY_UNIT);
  }

  #tryLease(bytes: number, from: number): number {
    if (this.#closed) throw new ClosedError('this backend');
    const wanted = Math.max(1, Math.ceil(bytes / IO_MEMORY_UNIT));
    this.#lock();
    try {
      const hint = Math.max(from, this.#slots.words.get(this.#region.start + AT.hint));
      let first = this.#findRun(hint, this.#region.units, wanted);
      if (first < 0) first = this.#findRun(from, Math.min(this.#region.units, hint + wanted), wanted);
      if (first < 0) return -1;
      this.#mark(first, wanted, this.#slot + 1);
      this.#slots.words.set(this.#region.start + AT.hint, first + wanted);
      const offset = this.#region.origin + first * IO_MEMORY_UNIT;
      this.#leases.set(offset, wanted);
      return offset;
    } finally {
      this.#unlock();
    }
  }

  /** Step: as `tryLease`, waiting until enough has come back. */
  lease(waits: Waits, bytes: number): number | Pending {
    if (bytes > this.capacity) {
      throw new ResourceExhaustedError(
        `${bytes} bytes of I/O memory were asked for, there are ${this.capacity} in all`,
        {
          hint: 'Create the instance with a larger ioMemory.',
        },
      );
    }
    const { version, waiters } = AT;
    const seen = this.#slots.words.load(this.#region.start + version);
    const offset = this.tryLease(bytes);
    if (offset >= 0) return offset;
    return waits.waitFor(
      WaitEvent.IoMemory,
      this.#region.start + waiters,
      this.#region.start + version,
      seen,
      bytes,
      0,
    );
  }

  /** Gives a run back; `offset` and `bytes` as at the lease. Nothing is left to give back after `releaseAll`. */
  release(offset: number, bytes: number): void {
    if (this.#closed) return;
    const units = this.#leases.get(offset);
    if (units === undefined || units !== Math.max(1, Math.ceil(bytes / IO_MEMORY_UNIT))) {
      fail(`${bytes} bytes of I/O memory at ${offset} were not leased`);
    }
    this.#giveBack(offset, units);
  }

  /** As `release`, of all that was leased there: for who has used less of it. */
  releaseWhole(offset: number): void {
    if (this.#closed) return;
    this.#giveBack(offset, this.#leases.get(offset) ?? fail(`no I/O memory was leased at ${offset}`));
  }

  #giveBack(offset: number, units: number): void {
    this.#leases.delete(offset);
    this.#lock();
    const first = (offset - this.#region.origin) / IO_MEMORY_UNIT;
    this.#mark(first, units, 0);
    const { words } = this.#slots;
    const hint = this.#region.start + AT.hint;
    if (first < words.get(hint)) words.set(hint, first);
    this.#unlock();
    this.#tellWaiters();
  }

  #tellWaiters(): void {
    this.#slots.words.add(this.#region.start + AT.version, 1);
    broadcast(this.#slots, this.#region.start + AT.waiters);
  }

  /**
   * For the supervisor: gives back the leases of a backend whose thread has ended, once its I/O is over. Waiters
   * are told in any case: the thread may have ended after it gave something back and before it said so.
   */
  releaseOf(dead: number): void {
    this.#lock();
    for (let unit = 0; unit < this.#region.units; unit++) {
      if (this.#slots.words.get(this.#owners + unit) === dead + 1) this.#mark(unit, 1, 0);
    }
    this.#unlock();
    this.#tellWaiters();
  }

  /** Gives back what this thread still has: it leaves, and nothing of its I/O is in flight. */
  releaseAll(): void {
    for (const [offset, units] of this.#leases) this.release(offset, units * IO_MEMORY_UNIT);
    this.#closed = true;
  }

  /** Units in use, for tests and statistics. */
  get unitsInUse(): number {
    let used = 0;
    for (let unit = 0; unit < this.#region.units; unit++) if (this.#isUsed(unit)) used++;
    return used;
  }

  #lock(): void {
    lockSpin(this.#slots, this.#region.start + AT.lock, this.#slot);
  }

  #unlock(): void {
    unlockSpin(this.#slots, this.#region.start + AT.lock, this.#slot);
  }

  #isUsed(unit: number): boolean {
    return this.#slots.words.get(this.#owners + unit) !== 0;
  }

  #findRun(from: number, to: number, wanted: number): number {
    let run = 0;
    for (let unit = from; unit < to; unit++) {
      run = this.#isUsed(unit) ? 0 : run + 1;
      if (run === wanted) return unit - wanted + 1;
    }
    return -1;
  }

  #mark(first: number, count: number, owner: number): void {
    this.#slots.words.array.fill(owner, this.#owners + first, this.#owners + first + count);
  }
}
