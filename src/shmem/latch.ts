/**
 * A latch wakes one thread, which re-checks whatever it waits for. It carries no condition of its own.
 *
 * A thread may sleep in two ways at once: blocked in `Atomics.wait`, and in its event loop with an
 * `Atomics.waitAsync` pending. They use different words, because a wake-up of one would otherwise be
 * consumed by the other.
 *
 * Order. The sleeper: announces itself in `latchSleepers`; then checks its condition; then sleeps on the
 * value that the word had before it announced. The waker: makes the condition true; then reads
 * `latchSleepers`. Both are sequentially consistent, so either the waker sees the sleeper, or the sleeper
 * sees the condition. The waker changes the word before it notifies, so a sleeper that has not yet slept
 * does not sleep.
 *
 * Who writes: `latchSleepers` the slot's own thread; `latchBlocking`, `latchAsync` any thread (add).
 */
import { SlotLayout } from './slots.js';
import type { Slots } from './slots.js';

const BLOCKING = 1;
const ASYNC = 2;

/** Wakes the thread of a slot, if it sleeps. Costs one atomic load when it does not. */
export function setLatch(slots: Slots, slot: number): void {
  const { words } = slots;
  const base = slots.base(slot);
  const sleepers = words.load(base + SlotLayout.at.latchSleepers);
  if (sleepers === 0) return;
  if ((sleepers & BLOCKING) !== 0) wake(slots, base + SlotLayout.at.latchBlocking);
  if ((sleepers & ASYNC) !== 0) wake(slots, base + SlotLayout.at.latchAsync);
}

/**
 * Wakes everybody. Whoever wakes the waiters of a condition takes their bits first and sets their latches
 * one by one: if its thread ended in between, nothing tells whom it has not woken. All look again, so this
 * stands for every wake-up that it may have owed.
 */
export function setAllLatches(slots: Slots): void {
  for (let slot = 0; slot < slots.region.count; slot++) setLatch(slots, slot);
}

function wake(slots: Slots, word: number): void {
  slots.words.add(word, 1);
  Atomics.notify(slots.words.array, word);
}

/** The own latch of a slot's thread. */
export class OwnLatch {
  readonly #slots: Slots;
  readonly #base: number;

  constructor(slots: Slots, slot: number) {
    this.#slots = slots;
    this.#base = slots.base(slot);
  }

  /** Announces a blocking sleep; pass the result to `sleep` after checking the condition once more. */
  announceBlocking(): number {
    const seen = this.#slots.words.load(this.#base + SlotLayout.at.latchBlocking);
    this.#slots.words.or(this.#base + SlotLayout.at.latchSleepers, BLOCKING);
    return seen;
  }

  /** Sleeps until the latch is set or `millis` have passed; false after a time-out. */
  sleep(seen: number, millis: number): boolean {
    return (
      Atomics.wait(this.#slots.words.array, this.#base + SlotLayout.at.latchBlocking, seen, millis) !==
      'timed-out'
    );
  }

  retractBlocking(): void {
    this.#slots.words.and(this.#base + SlotLayout.at.latchSleepers, ~BLOCKING);
  }

  announceAsync(): number {
    const seen = this.#slots.words.load(this.#base + SlotLayout.at.latchAsync);
    this.#slots.words.or(this.#base + SlotLayout.at.latchSleepers, ASYNC);
    return seen;
  }

  /** Resolves once the latch is set after `seen` was read. Does not keep the event loop alive. */
  async sleepAsync(seen: number): Promise<void> {
    const result = Atomics.waitAsync(this.#slots.words.array, this.#base + SlotLayout.at.latchAsync, seen);
    if (result.async) await result.value;
  }

  /** Ends a pending `sleepAsync` of this thread. */
  wakeAsync(): void {
    wake(this.#slots, this.#base + SlotLayout.at.latchAsync);
  }

  retractAsync(): void {
    this.#slots.words.and(this.#base + SlotLayout.at.latchSleepers, ~ASYNC);
  }
}
