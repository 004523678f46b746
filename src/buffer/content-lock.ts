/**
 * The content locks of a pool's buffers: who changes a page has its lock alone, who must see it unchanged shares it.
 * PostgreSQL's buffer content locks. Readers that only look at a page take none, as `buffer.page` says.
 *
 *   bits 0..19    holders in share mode
 *   WAITERS       somebody waits on the buffer's lock condition
 *   bits 24..31   slot of the holder in exclusive mode, plus one
 *
 * Who writes: any thread that has the buffer pinned, by compare-and-swap. Who holds it exclusively stands in the
 * word itself; who shares it, in the slot's list, written directly behind the swap that takes or gives back the
 * lock (see shmem/slots.ts). Both are for the supervisor: the locks of a thread that has ended are given back, and
 * if it had begun to change a page, it was in a critical section, and the instance has crashed (buffer-lock.ts).
 *
 * Locks are between threads and between tasks of a thread alike. Nothing is held while waiting, but for what the caller holds.
 */
import { fail } from '../base/assert.js';
import { ResourceExhaustedError } from '../base/errors.js';
import { broadcast, CONDITION_WORDS_MAX } from '../shmem/condition.js';
import type { Slots } from '../shmem/slots.js';
import { WaitEvent, type Pending, type Waits } from '../shmem/wait.js';
import { LOCK_CONDITIONS, SHARE_LOCK_PLACES, SHARE_LOCKS_MAX, type BufferRegion } from './region.js';

const SHARE_MASK = 0xf_ffff;
const WAITERS = 1 << 23;
const OWNER_SHIFT = 24;

export class ContentLocks {
  readonly #slots: Slots;
  readonly #slot: number;
  readonly #region: BufferRegion;
  readonly #waits: Waits;
  /** Only tasks of one thread can have these locks. */
  readonly #isPrivate: boolean;
  /** Places in this slot's list, by buffer, of locks that are shared. */
  readonly #shared = new Map<number, number[]>();

  constructor(slots: Slots, slot: number, region: BufferRegion, waits: Waits, isPrivate = false) {
    this.#slots = slots;
    this.#slot = slot;
    this.#region = region;
    this.#waits = waits;
    this.#isPrivate = isPrivate;
  }

  tryLockExclusive(buffer: number): boolean {
    const { words } = this.#slots;
    const word = this.#region.contentLocks + buffer;
    const waiters = words.load(word) & WAITERS;
    return words.compareExchange(word, waiters, waiters | ((this.#slot + 1) << OWNER_SHIFT)) === waiters;
  }

  /** Throws a ResourceExhaustedError when the backend holds as many as it may: as its user, or with those of write-back. */
  tryLockShared(buffer: number, holdsMax: number = SHARE_LOCKS_MAX): boolean {
    const { words } = this.#slots;
    const { array } = words;
    const word = this.#region.contentLocks + buffer;
    const place = this.#freePlace(holdsMax);
    let seen = words.load(word);
    for (;;) {
      if (seen >>> OWNER_SHIFT !== 0) return false;
      const before = words.compareExchange(word, seen, seen + 1);
      if (before === seen) {
        array[place] = buffer + 1;
        break;
      }
      seen = before;
    }
    this.#remember(buffer, place);
    return true;
  }

  #freePlace(holdsMax: number): number {
    const start = this.#region.shareLocks + this.#slot * SHARE_LOCK_PLACES;
    for (let place = start; place < start + holdsMax; place++)
      if (this.#slots.words.get(place) === 0) return place;
    throw new ResourceExhaustedError(`this backend holds ${holdsMax} content locks in share mode`, {
      hint: 'Release locks sooner.',
    });
  }

  #remember(buffer: number, place: number): void {
    const places = this.#shared.get(buffer);
    if (places === undefined) this.#shared.set(buffer, [place]);
    else places.push(place);
  }

  /** Step: as `tryLockExclusive`, waiting for who has the lock. */
  lockExclusive(buffer: number): true | Pending {
    for (;;) {
      if (this.tryLockExclusive(buffer)) return true;
      const waited = this.#wait(buffer, true);
      if (waited !== true) return waited;
    }
  }

  /** Step: as `tryLockShared`, waiting for who has the lock alone. */
  lockShared(buffer: number, holdsMax: number = SHARE_LOCKS_MAX): true | Pending {
    for (;;) {
      if (this.tryLockShared(buffer, holdsMax)) return true;
      const waited = this.#wait(buffer, false);
      if (waited !== true) return waited;
    }
  }

  /** Step: until nobody has the lock exclusively. For who has not pinned the buffer: it may be another block's then. */
  waitForChanger(buffer: number): true | Pending {
    return this.#wait(buffer, false);
  }

  #wait(buffer: number, alone: boolean): true | Pending {
    const { words } = this.#slots;
    const word = this.#region.contentLocks + buffer;
    let seen = words.load(word);
    for (;;) {
      const owner = seen >>> OWNER_SHIFT;
      if (owner === 0 && (!alone || (seen & SHARE_MASK) === 0)) return true;
      // Another task of this thread has it: nobody else can be waited for, and blocking would be for ever.
      if (this.#isPrivate || owner === this.#slot + 1 || (alone && this.#shared.has(buffer)))
        return this.#waits.waitForOwnThread(WaitEvent.BufferContent);
      if ((seen & WAITERS) !== 0) break;
      const before = words.compareExchange(word, seen, seen | WAITERS);
      if (before === seen) {
        seen |= WAITERS;
        break;
      }
      seen = before;
    }
    return this.#waits.waitFor(WaitEvent.BufferContent, this.#condition(buffer), word, seen, buffer, 0);
  }

  #condition(buffer: number): number {
    return this.#region.lockConditions + (buffer % LOCK_CONDITIONS) * CONDITION_WORDS_MAX;
  }

  unlockExclusive(buffer: number): void {
    const word = this.#region.contentLocks + buffer;
    const held = this.#slots.words.load(word);
    if (held >>> OWNER_SHIFT !== this.#slot + 1) fail(`buffer ${buffer} is not locked exclusively`);
    this.#tell(buffer, this.#slots.words.exchange(word, 0));
  }

  unlockShared(buffer: number): void {
    const { words } = this.#slots;
    const { array } = words;
    const word = this.#region.contentLocks + buffer;
    const places = this.#shared.get(buffer);
    const place = places?.pop();
    if (places === undefined || place === undefined)
      return fail(`buffer ${buffer} is not locked in share mode`);
    if (places.length === 0) this.#shared.delete(buffer);
    let seen = words.load(word);
    for (;;) {
      const left = seen - 1;
      const before = words.compareExchange(word, seen, (left & SHARE_MASK) === 0 ? left & ~WAITERS : left);
      if (before === seen) {
        array[place] = 0;
        break;
      }
      seen = before;
    }
    // Tasks of this thread may have waited for this holder of several.
    this.#tell(buffer, (seen & SHARE_MASK) === 1 ? seen : 0);
  }

  /** For a backend that leaves: what a pass was waiting with when it was cut off. */
  releaseShared(): void {
    for (const [buffer, places] of [...this.#shared]) for (const _ of [...places]) this.unlockShared(buffer);
  }

  /** `before`: the word that said who waits. */
  #tell(buffer: number, before: number): void {
    if ((before & WAITERS) !== 0) broadcast(this.#slots, this.#condition(buffer));
    this.#waits.lookAgainSoon();
  }

  /** For the supervisor, which is not a pool's user: gives back the locks of a backend whose thread has ended. */
  static releaseOf(slots: Slots, dead: number, region: BufferRegion): void {
    const { words } = slots;
    for (let buffer = 0; buffer < region.count; buffer++) {
      if (words.load(region.contentLocks + buffer) >>> OWNER_SHIFT !== dead + 1) continue;
      words.store(region.contentLocks + buffer, 0);
      broadcast(slots, region.lockConditions + (buffer % LOCK_CONDITIONS) * CONDITION_WORDS_MAX);
    }
    const start = region.shareLocks + dead * SHARE_LOCK_PLACES;
    for (let place = start; place < start + SHARE_LOCK_PLACES; place++) {
      const buffer = words.get(place) - 1;
      if (buffer < 0) continue;
      words.set(place, 0);
      words.sub(region.contentLocks + buffer, 1);
      // Their mark stays: it costs whoever unlocks next a look.
      broadcast(slots, region.lockConditions + (buffer % LOCK_CONDITIONS) * CONDITION_WORDS_MAX);
    }
  }
}
