/**
 * The budget of kernel descriptors: one limit for the process, shared by all threads. Each thread may
 * always hold a few, so that others' idle caches starve nobody; beyond those, it takes from a common stock.
 *
 * Who writes: `stock` any thread (atomic); the count of a slot its own thread, and after that has ended,
 * the supervisor. The count is plain, and stands directly behind the operation on the stock that it
 * accounts for: a thread ends between calls' entries only (see shmem/slots.ts), so the two are done or none.
 */
import { CACHE_LINE_WORDS } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { SharedWords } from '../shmem/words.js';

/** Descriptors that each thread may hold without asking. */
export const DESCRIPTOR_FLOOR = 2;

export class DescriptorBudget {
  readonly #words: SharedWords;
  readonly #stock: number;
  /** The word that counts what this slot holds. */
  readonly #count: number;

  /** The common stock, then a count for each slot. */
  static plan(plan: SegmentPlan, slotCount: number): number {
    return plan.reserve('descriptor budget', CACHE_LINE_WORDS + slotCount);
  }

  /** In the creator: what is left for the common stock once every slot has its floor. */
  static initialize(words: SharedWords, start: number, maxFiles: number, slotCount: number): void {
    words.store(start, Math.max(0, maxFiles - slotCount * DESCRIPTOR_FLOOR));
  }

  constructor(words: SharedWords, start: number, slot: number) {
    this.#words = words;
    this.#stock = start;
    this.#count = start + CACHE_LINE_WORDS + slot;
  }

  /** Takes the right to open one more. False: close one of your own first. */
  tryTake(): boolean {
    const { array } = this.#words;
    const { held } = this;
    if (held >= DESCRIPTOR_FLOOR) {
      let left = this.#words.load(this.#stock);
      for (;;) {
        if (left <= 0) return false;
        const seen = this.#words.compareExchange(this.#stock, left, left - 1);
        if (seen === left) break;
        left = seen;
      }
    }
    array[this.#count] = held + 1;
    return true;
  }

  giveBack(): void {
    const { array } = this.#words;
    const left = this.held - 1;
    if (left >= DESCRIPTOR_FLOOR) this.#words.add(this.#stock, 1);
    array[this.#count] = left;
  }

  /** For the supervisor: the slot's thread has ended, and Node has closed its descriptors. */
  giveBackAll(): void {
    while (this.held > 0) this.giveBack();
  }

  get held(): number {
    return this.#words.load(this.#count);
  }

  /** What is left of the common stock. */
  get stock(): number {
    return this.#words.load(this.#stock);
  }
}
