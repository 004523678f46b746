/**
 * A bounded lock-free queue of pairs of words, many producers and many consumers.
 *
 *        head → next to dequeue          tail → next to enqueue
 *        slot[p & mask] = { sequence, first, second }     sequence = p + 1 once position p is published
 *
 * Producer: checks that tail - head < size, takes position `tail` by compare-and-swap, writes the pair,
 * publishes by storing `sequence`. Between taking and publishing it is in a critical section: a consumer
 * cannot pass an unpublished position.
 * Consumer: sees `sequence` = head + 1 (so the pair is there), reads the pair, then takes it by moving
 * `head` with a compare-and-swap. A producer can overwrite the slot only after head has moved, so if the
 * swap succeeds, the pair was read whole; if it fails, what was read is thrown away. Dying anywhere in
 * here harms nobody.
 *
 * All positions are usable (PostgreSQL's queue keeps one free): 64 slots hold 64.
 */
import { assert } from '../base/assert.js';
import { CACHE_LINE_WORDS, declareLayout } from './layout.js';
import type { SegmentPlan } from './segment.js';
import type { Slots } from './slots.js';

const QueueLayout = declareLayout(
  'BoundedQueue',
  { head: CACHE_LINE_WORDS, tail: CACHE_LINE_WORDS },
  CACHE_LINE_WORDS,
);
const EntryLayout = declareLayout('BoundedQueueEntry', { sequence: 1, first: 1, second: 1, unused: 1 });

export interface QueueRegion {
  readonly start: number;
  /** A power of two. */
  readonly size: number;
}

export class BoundedQueue {
  readonly #slots: Slots;
  readonly #head: number;
  readonly #tail: number;
  readonly #entries: number;
  readonly #mask: number;
  /** The pair that the last successful `tryDequeue` took. */
  first = 0;
  second = 0;

  static plan(plan: SegmentPlan, name: string, size: number): QueueRegion {
    assert(size > 0 && (size & (size - 1)) === 0, `queue ${name} has ${size} slots, not a power of two`);
    return { start: plan.reserve(name, QueueLayout.words + size * EntryLayout.words), size };
  }

  constructor(slots: Slots, region: QueueRegion) {
    this.#slots = slots;
    this.#head = region.start + QueueLayout.at.head;
    this.#tail = region.start + QueueLayout.at.tail;
    this.#entries = region.start + QueueLayout.words;
    this.#mask = region.size - 1;
  }

  #entry(position: number): number {
    return this.#entries + (position & this.#mask) * EntryLayout.words;
  }

  /** False when the queue is full. `slot` is the caller's, for the count of critical sections. */
  tryEnqueue(slot: number, first: number, second: number): boolean {
    const { words } = this.#slots;
    this.#slots.enterCritical(slot);
    try {
      let tail = words.load(this.#tail);
      for (;;) {
        if (((tail - words.load(this.#head)) | 0) > this.#mask) return false;
        const seen = words.compareExchange(this.#tail, tail, (tail + 1) | 0);
        if (seen === tail) break;
        tail = seen;
      }
      const entry = this.#entry(tail);
      words.set(entry + EntryLayout.at.first, first);
      words.set(entry + EntryLayout.at.second, second);
      words.store(entry + EntryLayout.at.sequence, (tail + 1) | 0); // publishes the pair
      return true;
    } finally {
      this.#slots.leaveCritical(slot);
    }
  }

  /** Takes the oldest pair into `first` and `second`; false when there is none. */
  tryDequeue(): boolean {
    const { words } = this.#slots;
    let head = words.load(this.#head);
    for (;;) {
      const entry = this.#entry(head);
      if (words.load(entry + EntryLayout.at.sequence) !== ((head + 1) | 0)) {
        const now = words.load(this.#head);
        if (now === head) return false;
        head = now; // somebody else took it meanwhile; the slot may belong to a later round
        continue;
      }
      const first = words.get(entry + EntryLayout.at.first);
      const second = words.get(entry + EntryLayout.at.second);
      const seen = words.compareExchange(this.#head, head, (head + 1) | 0);
      if (seen === head) {
        this.first = first;
        this.second = second;
        return true;
      }
      head = seen;
    }
  }

  /** How many are queued; exact only when nobody moves. */
  get depth(): number {
    const { words } = this.#slots;
    return Math.max(0, (words.load(this.#tail) - words.load(this.#head)) | 0);
  }
}
