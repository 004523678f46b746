/**
 * A condition: the set of slots to wake when something changes, as a bit mask in shared memory.
 * PostgreSQL's condition variable. Waking may be spurious; a waiter re-checks.
 *
 * Order. The waiter sets its bit, then checks, then sleeps on its latch. The waker changes the state, then
 * takes the whole mask (exchange) and sets the latches. A bit that a waiter no longer needs costs one
 * spurious wake-up.
 */
import { setLatch } from './latch.js';
import { MAX_SLOTS, type Slots } from './slots.js';

/** Words that a condition's mask may need: structures with a fixed layout reserve so many. */
export const CONDITION_WORDS_MAX: number = Math.ceil(MAX_SLOTS / 32);

/** Words of a mask with one bit a slot. */
export function conditionWords(slotCount: number): number {
  return Math.ceil(slotCount / 32);
}

export function joinCondition(slots: Slots, condition: number, slot: number): void {
  slots.words.or(condition + (slot >>> 5), 1 << (slot & 31));
}

export function hasJoined(slots: Slots, condition: number, slot: number): boolean {
  return (slots.words.load(condition + (slot >>> 5)) & (1 << (slot & 31))) !== 0;
}

/**
 * Wakes all who joined. One load a mask word when nobody has. True when the caller's own slot, `self`, was
 * among them: it is awake, and sees to its own tasks itself.
 */
export function broadcast(slots: Slots, condition: number, self = -1): boolean {
  const { words } = slots;
  let own = false;
  const wordCount = conditionWords(slots.region.count);
  for (let index = 0; index < wordCount; index++) {
    if (words.load(condition + index) === 0) continue;
    let mask = words.exchange(condition + index, 0);
    while (mask !== 0) {
      const bit = 31 - Math.clz32(mask & -mask);
      mask &= mask - 1;
      const slot = index * 32 + bit;
      if (slot === self) own = true;
      else setLatch(slots, slot);
    }
  }
  return own;
}
