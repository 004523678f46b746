/**
 * Who may make a relation longer: PostgreSQL's LockRelationForExtension. A few words that relations share by hash; a word
 * holds the slot of its holder, plus one. Held while files grow, which is too long for a spin lock.
 *
 * Who writes: any backend, by compare-and-swap from 0; its holder, back to 0; the supervisor, once the holder's thread has
 * ended: the file may then have blocks of zeroes that nobody asked for, which harm nobody.
 */
import { broadcast, CONDITION_WORDS_MAX } from '../shmem/condition.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { Slots } from '../shmem/slots.js';
import { WaitEvent, type Pending, type Waits } from '../shmem/wait.js';

const LOCKS = 64;

export interface ExtensionLockRegion {
  readonly locks: number;
  readonly conditions: number;
}

export class ExtensionLocks {
  readonly #slots: Slots;
  readonly #slot: number;
  readonly #region: ExtensionLockRegion;
  readonly #waits: Waits;

  static plan(plan: SegmentPlan): ExtensionLockRegion {
    return {
      locks: plan.reserve('extension locks', LOCKS),
      conditions: plan.reserve('extension lock conditions', LOCKS * CONDITION_WORDS_MAX),
    };
  }

  constructor(slots: Slots, slot: number, region: ExtensionLockRegion, waits: Waits) {
    this.#slots = slots;
    this.#slot = slot;
    this.#region = region;
    this.#waits = waits;
  }

  /** Step: takes the lock of all relations with this hash. */
  lock(hash: number): true | Pending {
    const place = (hash >>> 0) % LOCKS;
    const word = this.#region.locks + place;
    for (;;) {
      const holder = this.#slots.words.compareExchange(word, 0, this.#slot + 1);
      if (holder === 0) return true;
      if (holder === this.#slot + 1) return this.#waits.waitForOwnThread(WaitEvent.RelationExtension);
      const condition = this.#region.conditions + place * CONDITION_WORDS_MAX;
      if (this.#slots.words.load(word) === holder)
        return this.#waits.waitFor(WaitEvent.RelationExtension, condition, word, holder, place, 0);
    }
  }

  unlock(hash: number): void {
    this.#free((hash >>> 0) % LOCKS);
    this.#waits.lookAgainSoon();
  }

  #free(place: number): void {
    freeLock(this.#slots, this.#region, place);
  }

  /** For a backend that leaves. */
  releaseAll(): void {
    ExtensionLocks.releaseOf(this.#slots, this.#slot, this.#region);
  }

  /** For the supervisor: those of a backend whose thread has ended. */
  static releaseOf(slots: Slots, slot: number, region: ExtensionLockRegion): void {
    for (let place = 0; place < LOCKS; place++)
      if (slots.words.load(region.locks + place) === slot + 1) freeLock(slots, region, place);
  }
}

function freeLock(slots: Slots, { locks, conditions }: ExtensionLockRegion, place: number): void {
  slots.words.store(locks + place, 0);
  broadcast(slots, conditions + place * CONDITION_WORDS_MAX);
}
