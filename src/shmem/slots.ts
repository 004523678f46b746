/**
 * Slots: one for each thread that takes part in an instance, PostgreSQL's process array. A slot carries
 * the thread's identity, its latch, what it waits for, and how many critical sections it is in.
 *
 * Slots are numbered: backends first, then I/O workers, then the supervisor. The number fits in eight
 * bits, so that an executor word can hold it beside a generation.
 *
 * Who writes: `status` moves FREE → CLAIMED → ATTACHED by the thread that takes the slot (compare-and-swap,
 * then a store), and back to FREE by that thread. Once the thread has ended, the supervisor is the only
 * writer of the whole slot: ATTACHED → ENDED when it begins to give back what the thread held, and FREE at
 * the end of that; or CLAIMED → FREE. `threadId`, `startTime`, `wait*` and `criticalSections` are written by
 * the slot's own thread only and may be read by all; identity is written between CLAIMED and ATTACHED. The
 * latch words are described in latch.ts.
 *
 * `backendType` is written by the slot's own thread, before its first I/O.
 *
 * `exitNotice` is 0 from the claim on. The addon writes the kernel's id of the slot's thread there when that has
 * run its last JavaScript and nothing that it submitted is in flight; so whoever reads it there next to an
 * identity with that id knows all that a look at /proc would tell, and earlier. A thread that leaves withdraws
 * its notice before it releases the slot; and one that ended wrote before its id could be another thread's.
 *
 * A thread may end between CLAIMED and ATTACHED, when its identity is not written yet, and what stands there
 * is that of the slot's last thread. The one word that it did write therefore says who it is: above the
 * status stands the kernel's id of the claiming thread.
 *
 * Where a thread can end: `worker.terminate()` and `process.exit()` end a Node thread where V8 looks for
 * interrupts, which is at the entry of each function (JavaScript and exported WebAssembly alike) and at the
 * end of each round of a loop; never elsewhere. So a plain store that stands behind a compare-and-swap which
 * has succeeded, with no call and no loop between the two, is done whenever the swap is. Code that keeps a
 * record of what it holds for the supervisor relies on that, and writes `array[word] = …` in place, because
 * `words.set` would be a call.
 */
import { assert } from '../base/assert.js';
import { ResourceExhaustedError } from '../base/errors.js';
import { CACHE_LINE_WORDS, declareLayout, type Layout } from './layout.js';
import type { SegmentPlan } from './segment.js';
import type { ThreadIdentity } from './thread-identity.js';
import type { SharedWords } from './words.js';

const slotFields = {
  status: 1,
  threadId: 1,
  startTime: 2,
  latchSleepers: 1,
  latchBlocking: 1,
  latchAsync: 1,
  criticalSections: 1,
  waitEvent: 1,
  waitObject: 1,
  waitGeneration: 1,
  exitNotice: 1,
  backendType: 1,
} as const;
export const SlotLayout: Layout<typeof slotFields> = declareLayout('Slot', slotFields, CACHE_LINE_WORDS);

export const SlotStatus = {
  FREE: 0,
  CLAIMED: 1,
  ATTACHED: 2,
  /** The thread has ended without leaving; what it held is being given back. */
  ENDED: 3,
} as const;
const STATUS_MASK = 3;
const CLAIMER_SHIFT = 2;

/** At most 32 I/O workers: the idle mask is one word. PostgreSQL's MAX_IO_WORKERS. */
export const MAX_IO_WORKERS = 32;
/** Slot numbers must fit into eight bits, one value being kept for "nobody". */
export const MAX_SLOTS = 255;
export const MAX_BACKENDS_LIMIT: number = MAX_SLOTS - MAX_IO_WORKERS - 1;

export interface SlotRegion {
  readonly start: number;
  /** Those of the instance's own threads included. */
  readonly maxBackends: number;
  /** The last so many backends are for the instance's own threads. */
  readonly auxiliaries: number;
  readonly count: number;
}

export class Slots {
  readonly words: SharedWords;
  readonly region: SlotRegion;
  /** Throws when the instance crashed; for whoever waits without a latch. */
  checkAlive: () => void = () => undefined;

  static plan(plan: SegmentPlan, maxBackends: number, auxiliaries = 0): SlotRegion {
    const count = maxBackends + MAX_IO_WORKERS + 1;
    assert(count <= MAX_SLOTS, `${maxBackends} backends need ${count} slots, ${MAX_SLOTS} are possible`);
    return { start: plan.reserve('slots', count * SlotLayout.words), maxBackends, auxiliaries, count };
  }

  constructor(words: SharedWords, region: SlotRegion) {
    this.words = words;
    this.region = region;
  }

  /** First word of a slot. */
  base(slot: number): number {
    return this.region.start + slot * SlotLayout.words;
  }

  workerSlot(workerId: number): number {
    return this.region.maxBackends + workerId;
  }

  get supervisorSlot(): number {
    return this.region.maxBackends + MAX_IO_WORKERS;
  }

  isBackend(slot: number): boolean {
    return slot < this.region.maxBackends;
  }

  describe(slot: number): string {
    if (this.isBackend(slot)) return `backend ${slot}`;
    return slot === this.supervisorSlot ? 'supervisor' : `I/O worker ${slot - this.region.maxBackends}`;
  }

  status(slot: number): number {
    return this.words.load(this.base(slot) + SlotLayout.at.status) & STATUS_MASK;
  }

  /** For the supervisor: the kernel's id of the thread that is taking the slot; 0 when nobody is, or unknown. */
  claimer(slot: number): number {
    const word = this.words.load(this.base(slot) + SlotLayout.at.status);
    return (word & STATUS_MASK) === SlotStatus.CLAIMED ? word >>> CLAIMER_SHIFT : 0;
  }

  /** For the supervisor: the thread that was taking the slot has ended. False: it had come further. */
  tryReleaseClaimed(slot: number, claimer: number): boolean {
    const claimed = SlotStatus.CLAIMED | (claimer << CLAIMER_SHIFT);
    const word = this.base(slot) + SlotLayout.at.status;
    return this.words.compareExchange(word, claimed, SlotStatus.FREE) === claimed;
  }

  /** What kind of backend a slot's thread is: an index of `BACKEND_TYPES` of the statistics. */
  backendType(slot: number): number {
    return this.words.get(this.base(slot) + SlotLayout.at.backendType);
  }

  setBackendType(slot: number, type: number): void {
    this.words.set(this.base(slot) + SlotLayout.at.backendType, type);
  }

  /** For the supervisor: from here on the slot's words are its own, until it releases the slot. */
  markEnded(slot: number): void {
    this.words.store(this.base(slot) + SlotLayout.at.status, SlotStatus.ENDED);
  }

  /** Where the addon says that the slot's thread has ended. */
  exitNoticeWord(slot: number): number {
    return this.base(slot) + SlotLayout.at.exitNotice;
  }

  /** Whether the thread with that identity has said that it ended. False proves nothing. */
  hasNotifiedExit(slot: number, { threadId }: ThreadIdentity): boolean {
    return threadId !== 0 && this.words.load(this.exitNoticeWord(slot)) === threadId;
  }

  /** Takes a free backend slot for the calling thread. Users' threads and the instance's own have theirs apart. */
  claimBackend(identity: ThreadIdentity, isAuxiliary = false): number {
    const { maxBackends, auxiliaries } = this.region;
    const users = maxBackends - auxiliaries;
    const end = isAuxiliary ? maxBackends : users;
    for (let slot = isAuxiliary ? users : 0; slot < end; slot++) {
      if (this.tryClaim(slot, identity)) return slot;
    }
    if (isAuxiliary)
      throw new ResourceExhaustedError(
        `all ${auxiliaries} backends of the instance's own threads are attached`,
      );
    throw new ResourceExhaustedError(`all ${users} backends of this instance are attached`, {
      hint: 'Close a backend, or create the instance with a higher maxBackends.',
    });
  }

  tryClaim(slot: number, identity: ThreadIdentity): boolean {
    const base = this.base(slot);
    const claimed = SlotStatus.CLAIMED | (identity.threadId << CLAIMER_SHIFT);
    if (
      this.words.compareExchange(base + SlotLayout.at.status, SlotStatus.FREE, claimed) !== SlotStatus.FREE
    ) {
      return false;
    }
    this.words.set(base + SlotLayout.at.threadId, identity.threadId);
    this.words.setWide(base + SlotLayout.at.startTime, identity.startTime);
    this.words.set(base + SlotLayout.at.criticalSections, 0);
    this.words.store(this.exitNoticeWord(slot), 0);
    this.words.store(base + SlotLayout.at.status, SlotStatus.ATTACHED); // publishes the identity
    return true;
  }

  /** By the slot's thread as the last thing it does, or by the supervisor. */
  release(slot: number): void {
    const base = this.base(slot);
    this.words.set(base + SlotLayout.at.waitEvent, 0);
    this.words.store(base + SlotLayout.at.latchSleepers, 0);
    this.words.store(base + SlotLayout.at.status, SlotStatus.FREE);
  }

  identity(slot: number): ThreadIdentity {
    const base = this.base(slot);
    return {
      threadId: this.words.get(base + SlotLayout.at.threadId),
      startTime: this.words.getWide(base + SlotLayout.at.startTime),
    };
  }

  /**
   * Critical sections: a thread that dies between these two leaves shared state torn, and the instance
   * crashes. They are few: the holders of spin locks, and the queue's producers. Plain writes: the atomic operations inside the section order
   * them, and others look only after the thread has ended.
   */
  enterCritical(slot: number): void {
    const word = this.criticalWord(slot);
    this.words.set(word, this.words.get(word) + 1);
  }

  leaveCritical(slot: number): void {
    const word = this.criticalWord(slot);
    this.words.set(word, this.words.get(word) - 1);
  }

  inCritical(slot: number): boolean {
    return this.words.load(this.criticalWord(slot)) !== 0;
  }

  /** Where a slot's critical sections are counted. */
  criticalWord(slot: number): number {
    return this.base(slot) + SlotLayout.at.criticalSections;
  }
}
