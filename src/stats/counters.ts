/**
 * Cumulative counters, one set a slot, as PostgreSQL's pg_stat_io has them a backend type. Each counter is
 * two words that only the slot's own thread writes, without atomics; a reader of another thread's set may
 * see a value that is a moment old.
 */
import { CACHE_LINE_WORDS, declareLayout, type Layout } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { SharedWords } from '../shmem/words.js';

const counterFields = {
  /** I/Os that this thread carried out, and their bytes. */
  reads: 2,
  readBytes: 2,
  writes: 2,
  writeBytes: 2,
  syncs: 2,
  /** Pages that this thread had written: of a checkpoint or flush; ahead of need; for want of a clean buffer. */
  pagesFlushed: 2,
  pagesCleaned: 2,
  pagesEvicted: 2,
  ioErrors: 2,
  /** Own I/Os that had to run in the issuing thread though the method is asynchronous. */
  inlineExecutions: 2,
  /** Own I/Os that were handed to the method. */
  submissions: 2,
  /** I/Os of others that this thread ran or submitted for them. */
  takenOver: 2,
  reopens: 2,
  wakeups: 2,
  workersStarted: 2,
  workersLost: 2,
  /** Backends whose thread ended without closing them, and whose belongings were given back. */
  backendsLost: 2,
} as const;
const CounterLayout = declareLayout('Counters', counterFields, CACHE_LINE_WORDS);

/** Which counter: its place in a slot's set. */
export const Counter: Layout<typeof counterFields>['at'] = CounterLayout.at;

export type CounterName = keyof typeof counterFields;
export type CounterSnapshot = Record<CounterName, number>;

const names = Object.keys(CounterLayout.at) as CounterName[];

export class Counters {
  readonly #words: SharedWords;
  readonly #base: number;

  static plan(plan: SegmentPlan, slotCount: number): number {
    return plan.reserve('counters', slotCount * CounterLayout.words);
  }

  constructor(words: SharedWords, start: number, slot: number) {
    this.#words = words;
    this.#base = start + slot * CounterLayout.words;
  }

  /** `counter` is one of `Counter`. */
  count(counter: number, amount = 1): void {
    this.#words.addWide(this.#base + counter, amount);
  }

  snapshot(): CounterSnapshot {
    const result = {} as CounterSnapshot;
    for (const name of names) result[name] = this.#words.getWide(this.#base + CounterLayout.at[name]);
    return result;
  }

  /** Sum over all slots. */
  static total(words: SharedWords, start: number, slotCount: number): CounterSnapshot {
    const sum = {} as CounterSnapshot;
    for (const name of names) sum[name] = 0;
    for (let slot = 0; slot < slotCount; slot++) {
      const one = new Counters(words, start, slot).snapshot();
      for (const name of names) sum[name] += one[name];
    }
    return sum;
  }
}
