/**
 * A lock for a handful of instructions: the word holds the owner's slot plus one. The holder never sleeps,
 * never calls out, and counts as being in a critical section; so a contender spins, and sleeps a few
 * microseconds only when the holder was probably descheduled.
 */
import type { Slots } from './slots.js';

const SPINS_BEFORE_SLEEP = 500;
const SLEEP_MILLIS = 0.05;

/** Takes the lock; returns how often it had to sleep. Throws when the instance crashed: its holder may be dead. */
export function lockSpin(slots: Slots, lock: number, slot: number): number {
  const { words } = slots;
  let sleeps = 0;
  for (let spins = 0; words.compareExchange(lock, 0, slot + 1) !== 0; spins++) {
    if (spins < SPINS_BEFORE_SLEEP) continue;
    Atomics.wait(words.array, lock, words.get(lock), SLEEP_MILLIS);
    slots.checkAlive();
    spins = 0;
    sleeps++;
  }
  return sleeps;
}

/** Gives it back. Nobody is notified: contenders sleep for a bounded, tiny time. */
export function unlockSpin(slots: Slots, lock: number): void {
  slots.words.store(lock, 0);
}
