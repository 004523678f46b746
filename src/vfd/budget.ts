/**
 * The budget of kernel descriptors: one limit for the process, shared by all threads. Each thread may
 * always hold a few, so that others' idle caches starve nobody; beyond those, it takes from a common stock.
 *
 * Who writes: `stock` any thread (compare-and-swap).
 */
import type { SegmentPlan } from '../shmem/segment.js';
import type { SharedWords } from '../shmem/words.js';

/** Descriptors that each thread may hold without asking. */
export const DESCRIPTOR_FLOOR = 2;

export class DescriptorBudget {
  readonly #words: SharedWords;
  readonly #stock: number;
  #held = 0;

  static plan(plan: SegmentPlan): number {
    return plan.reserve('descriptor budget', 1);
  }

  /** In the creator: what is left for the common stock once every slot has its floor. */
  static initialize(words: SharedWords, start: number, maxFiles: number, slotCount: number): void {
    words.store(start, Math.max(0, maxFiles - slotCount * DESCRIPTOR_FLOOR));
  }

  constructor(words: SharedWords, start: number) {
    this.#words = words;
    this.#stock = start;
  }

  /** Takes the right to open one more. False: close one of your own first. */
  tryTake(): boolean {
    if (this.#held >= DESCRIPTOR_FLOOR) {
      let left = this.#words.load(this.#stock);
      for (;;) {
        if (left <= 0) return false;
        const seen = this.#words.compareExchange(this.#stock, left, left - 1);
        if (seen === left) break;
        left = seen;
      }
    }
    this.#held++;
    return true;
  }

  giveBack(): void {
    this.#held--;
    if (this.#held >= DESCRIPTOR_FLOOR) this.#words.add(this.#stock, 1);
  }

  get held(): number {
    return this.#held;
  }
}
