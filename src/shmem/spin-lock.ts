/**
 * A lock for a handful of instructions: the word holds the owner's slot plus one. The holder never sleeps,
 * never calls out; so a contender spins, and sleeps a few microseconds only when the holder was probably
 * descheduled.
 *
 * The holder is in a critical section, and only the holder: who ends while it waits for the lock has torn
 * nothing. The count is changed directly behind the swap that takes the lock and the store that gives it
 * back, where a thread cannot end (see slots.ts).
 */
import type { Slots } from './slots.js';

const SPINS_BEFORE_SLEEP = 500;
const SLEEP_MILLIS = 0.05;

/** Takes the lock; returns how often it had to sleep. Throws when the instance crashed: its holder may be dead. */
export function lockSpin(slots: Slots, lock: number, slot: number): number {
  const { words } = slots;
  const { array } = words;
  const critical = slots.criticalWord(slot);
  let sleeps = 0;
  for (let spins = 0; words.compareExchange(lock, 0, slot + 1) !== 0; spins++) {
    if (spins < SPINS_BEFORE_SLEEP) continue;
    Atomics.wait(words.array, lock, words.get(lock), SLEEP_MILLIS);
    slots.checkAlive();
    spins = 0;
    sleeps++;
  }
  array[critical]!++;
  return sleeps;
}

/** Gives it back. Nobody is notified: contenders sleep for a bounded, tiny time. */
export function unlockSpin(slots: Slots, lock: number, slot: number): void {
  const { array } = slots.words;
  const critical = slots.criticalWord(slot);
  slots.words.store(lock, 0);
  array[critical]!--;
}
