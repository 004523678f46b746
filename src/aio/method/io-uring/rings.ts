/**
 * What backends share about their rings: where each ring is, who may take completions from it, and who
 * waits for that. One ring a backend, made up front; a backend submits to its own only, any thread may
 * reap any.
 *
 * The completion lock and those who wait for it. Only its holder takes completions; it may sleep in the
 * kernel with it. Nobody else ever blocks on the lock:
 *
 *      WAITING ── set own bit in `waiters`, then try the lock ──▶ HOLDER ── completion queue empty:
 *         │                                                         │       sleep in the kernel
 *         │ the lock is held: look at the I/O once more,            │ (on the way here: clear own bit)
 *         │ then sleep on the latch                                 ▼
 *         ▼                                                       take at most 32 completions: each handle
 *      ASLEEP ◀───────────────┐                                   SUBMITTED → COMPLETED_IO, then give the
 *         │ woken             │                                   entries back to the kernel
 *         ▼                   │                                     │
 *      look at the I/O        │                                   UNLOCK, then read `waiters`
 *         │   │ still runs ───┴─▶ WAITING                           │
 *         │ it is over                                            wake one of those ──▶ (it goes on at ASLEEP)
 *         ▼                                                         │
 *      clear own bit; if the lock is free,                        run the callbacks of what was taken;
 *      wake another: PASS ON                                      look back: more completions? try again
 *
 * Why nobody sleeps for ever. A waiter that finds the lock held set its bit before, so the holder's look at
 * `waiters`, which follows its unlock, sees the bit and wakes it; a waiter that was woken either takes the
 * lock or passes the wake on; the supervisor frees the lock of a thread that died and wakes all. Event
 * loops set no bit: they poll the ring's descriptor, which is readable while there is a completion.
 *
 * Who writes: `lock` by compare-and-swap from free, the holder sets it back, the supervisor after the
 * holder's end. `waiters` each thread its own bit. The rest the creator, before others can see it.
 */
import { fail } from '../../../base/assert.js';
import type { ResolvedSettings } from '../../../base/settings.js';
import { RingOut } from '../../../native/addon.js';
import { CONDITION_WORDS_MAX } from '../../../shmem/condition.js';
import { CACHE_LINE_WORDS, declareLayout } from '../../../shmem/layout.js';
import { setLatch } from '../../../shmem/latch.js';
import type { SegmentPlan } from '../../../shmem/segment.js';
import type { Slots } from '../../../shmem/slots.js';

const RingLayout = declareLayout(
  'Ring',
  { lock: 1, waiters: CONDITION_WORDS_MAX, number: 1, mapped: 1, vectorsOnly: 1, described: RingOut.WORDS },
  CACHE_LINE_WORDS,
);
const AT = RingLayout.at;

/** Rings in our own memory start on pages. Where pages are larger, the kernel refuses, and they are mapped. */
const PAGE_WORDS = 1024;
const SQE_WORDS = 16;
const CQE_WORDS = 4;
/** The kernel's own fields before the entries, generously. */
const HEADER_WORDS = 128;
const FREE = 0;

export interface RingRegion {
  readonly control: number;
  readonly count: number;
  readonly entries: number;
  /** First words of the memory for submission entries, and for the two queues, of ring 0. */
  readonly sqes: number;
  readonly queues: number;
  readonly queueWords: number;
}

function pages(words: number): number {
  return Math.ceil(words / PAGE_WORDS) * PAGE_WORDS;
}

export class Rings {
  readonly region: RingRegion;
  readonly slots: Slots;

  /** As many entries as a backend has handles; the kernel makes room for twice as many completions. */
  static plan(plan: SegmentPlan, { ioMethod, maxBackends, ioMaxConcurrency }: ResolvedSettings): RingRegion {
    const count = ioMethod === 'io_uring' ? maxBackends : 0;
    const entries = 2 ** Math.ceil(Math.log2(ioMaxConcurrency));
    const queueWords = pages(HEADER_WORDS + entries * 2 * CQE_WORDS + entries);
    const sqes = plan.reserve('aio submission entries', count * pages(entries * SQE_WORDS), PAGE_WORDS);
    return {
      control: plan.reserve('aio rings', count * RingLayout.words),
      count,
      entries,
      sqes,
      queues: plan.reserve('aio ring queues', count * queueWords, PAGE_WORDS),
      queueWords,
    };
  }

  constructor(slots: Slots, region: RingRegion) {
    this.slots = slots;
    this.region = region;
  }

  #base(ring: number): number {
    return this.region.control + ring * RingLayout.words;
  }

  // --- where a ring is ---------------------------------------------------------------------------

  sqesIndex(ring: number): number {
    return this.region.sqes + ring * pages(this.region.entries * SQE_WORDS);
  }

  queuesIndex(ring: number): number {
    return this.region.queues + ring * this.region.queueWords;
  }

  describe(ring: number, number: number, mapped: boolean, vectorsOnly: boolean, described: Int32Array): void {
    const { words } = this.slots;
    words.set(this.#base(ring) + AT.number, number);
    words.set(this.#base(ring) + AT.mapped, mapped ? 1 : 0);
    words.set(this.#base(ring) + AT.vectorsOnly, vectorsOnly ? 1 : 0);
    for (let word = 0; word < RingOut.WORDS; word++)
      words.set(this.#base(ring) + AT.described + word, described[word] as number);
  }

  /** The addon's numbers are not 0. */
  isSetUp(ring: number): boolean {
    return this.number(ring) !== 0;
  }

  /** The addon's number of a ring. */
  number(ring: number): number {
    return this.slots.words.get(this.#base(ring) + AT.number);
  }

  /** Whether the ring lies in memory of the kernel's. */
  isMapped(ring: number): boolean {
    return this.slots.words.get(this.#base(ring) + AT.mapped) !== 0;
  }

  /** Whether READ or WRITE is missing or not permitted, so that READV and WRITEV serve for all. */
  hasVectorsOnly(ring: number): boolean {
    return this.slots.words.get(this.#base(ring) + AT.vectorsOnly) !== 0;
  }

  /** One of the words that `RingOut` names. */
  described(ring: number, word: number): number {
    return this.slots.words.get(this.#base(ring) + AT.described + word);
  }

  // --- the completion lock -----------------------------------------------------------------------

  tryLock(ring: number, slot: number): boolean {
    return this.slots.words.compareExchange(this.#base(ring) + AT.lock, FREE, slot + 1) === FREE;
  }

  /** Gives the lock back, then wakes one of those who wait for it: in this order, see above. */
  unlock(ring: number, slot: number): void {
    if (this.holder(ring) !== slot)
      fail(`slot ${slot} gives back the completion lock of ring ${ring}, not its own`);
    this.slots.words.store(this.#base(ring) + AT.lock, FREE);
    this.#wakeOne(ring, slot);
  }

  /** Slot of the holder, or -1. */
  holder(ring: number): number {
    return this.slots.words.load(this.#base(ring) + AT.lock) - 1;
  }

  // --- who waits for it --------------------------------------------------------------------------

  mark(ring: number, slot: number): void {
    this.slots.words.or(this.#base(ring) + AT.waiters + (slot >>> 5), 1 << (slot & 31));
  }

  unmark(ring: number, slot: number): void {
    this.slots.words.and(this.#base(ring) + AT.waiters + (slot >>> 5), ~(1 << (slot & 31)));
  }

  /** For a waiter that was woken and needs the ring no more. */
  passOn(ring: number, slot: number): void {
    if (this.holder(ring) === -1) this.#wakeOne(ring, slot);
  }

  #wakeOne(ring: number, self: number): void {
    this.#wake(ring, self, false);
  }

  #wake(ring: number, self: number, all: boolean): void {
    const { words, region } = this.slots;
    const waiters = this.#base(ring) + AT.waiters;
    for (let index = 0; index * 32 < region.count; index++) {
      let mask = words.load(waiters + index);
      while (mask !== 0) {
        const slot = index * 32 + 31 - Math.clz32(mask & -mask);
        mask &= mask - 1;
        if (slot === self) continue;
        setLatch(this.slots, slot);
        if (!all) return;
      }
    }
  }

  /** For the supervisor: a thread has ended. Its lock is freed, and everybody who may have counted on it looks. */
  recover(dead: number): void {
    for (let ring = 0; ring < this.region.count; ring++) {
      this.unmark(ring, dead);
      if (this.holder(ring) === dead) this.slots.words.store(this.#base(ring) + AT.lock, FREE);
      this.#wake(ring, -1, true);
    }
  }
}
