/**
 * What was done, by kind of backend, object and context, as PostgreSQL's pg_stat_io has it; and how long I/O took, by
 * object, operation and how it was carried out.
 *
 *   head: timing │ reset time │ what there was at the reset │ slot 0: rows, histograms │ slot 1 …
 *
 * Who writes: a slot's part only the thread that has the slot, without atomics, each counter a double that is
 * aligned, so that readers see a value that is a moment old and never a torn one. I/O is counted by the thread that
 * completes it, to the account of the backend that started it. A thread that ends in between leaves an I/O
 * counted without its bytes; the slot's next thread goes on counting. `timing`: anybody, by atomic operations; each
 * thread looks when it starts an I/O. The reset's part: anybody, in one copy, which nothing interrupts; each
 * counter in it was a counter's value, so whoever reads it before the counters gets no negative difference.
 */
import { CACHE_LINE_WORDS } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { SharedWords } from '../shmem/words.js';
import { BUCKETS, bucketOf } from './latency-histogram.js';

/** PostgreSQL's names. I/O workers act for those who started the I/O, and have no rows. */
export const BACKEND_TYPES = ['client backend', 'checkpointer', 'background writer'] as const;
export type BackendType = (typeof BACKEND_TYPES)[number];

export const IO_OBJECTS = ['relation', 'temp relation', 'wal', 'file', 'other'] as const;
export type IoObject = (typeof IO_OBJECTS)[number];

/** `normal`, or the kind of the ring of buffers. */
export const IO_CONTEXTS = ['normal', 'bulkread', 'bulkwrite', 'vacuum'] as const;
export type IoContext = (typeof IO_CONTEXTS)[number];

export const IO_OPERATIONS = ['read', 'write', 'fsync'] as const;
export type IoOperation = (typeof IO_OPERATIONS)[number];

/** How an I/O was carried out: by an I/O worker, by a ring of the kernel, or in the thread of a backend. */
export const IO_WAYS = ['worker', 'io_uring', 'sync'] as const;
export type IoWay = (typeof IO_WAYS)[number];

/** Of each operation first how many, bytes, microseconds. */
export const FIELDS = [
  'reads',
  'readBytes',
  'readMicros',
  'writes',
  'writeBytes',
  'writeMicros',
  'fsyncs',
  'fsyncBytes',
  'fsyncMicros',
  'extends',
  'extendBytes',
  'hits',
  'evictions',
  'reuses',
  'failures',
] as const;
export type Field = (typeof FIELDS)[number];
const OPERATION_FIELDS = 3;
const EXTENDS = FIELDS.indexOf('extends');
const HITS = FIELDS.indexOf('hits');
const EVICTIONS = FIELDS.indexOf('evictions');
const REUSES = FIELDS.indexOf('reuses');
const FAILURES = FIELDS.indexOf('failures');

const CONTEXT_SIZE = FIELDS.length;
const OBJECT_SIZE = IO_CONTEXTS.length * CONTEXT_SIZE;
const TYPE_SIZE = IO_OBJECTS.length * OBJECT_SIZE;
export const ROWS: number = BACKEND_TYPES.length * IO_OBJECTS.length * IO_CONTEXTS.length;
/** In a slot's part, behind the rows. */
export const HISTOGRAMS_START: number = ROWS * FIELDS.length;
export const HISTOGRAMS: number = IO_OBJECTS.length * IO_OPERATIONS.length * IO_WAYS.length;
/** Before the buckets: how many, microseconds in all, the most. */
const HISTOGRAM_HEAD = 3;
export const HISTOGRAM_SIZE: number = HISTOGRAM_HEAD + BUCKETS;
const WORDS_OF_DOUBLE = 2;
/** Doubles of a slot's part; slots share no cache line. */
const DOUBLES_OF_LINE = CACHE_LINE_WORDS / WORDS_OF_DOUBLE;
export const SLOT_SIZE: number =
  Math.ceil((HISTOGRAMS_START + HISTOGRAMS * HISTOGRAM_SIZE) / DOUBLES_OF_LINE) * DOUBLES_OF_LINE;

/** Who wants clocks to be read. */
export const Timing = { WANTED: 1, WATCHED: 2 } as const;

export interface IoStatsRegion {
  /** A word on a cache line of its own, which is written rarely and read for each I/O. */
  readonly timing: number;
  /** Double of milliseconds since 1970. */
  readonly resetAt: number;
  readonly baseline: number;
  readonly slots: number;
  readonly slotCount: number;
}

export function planIoStats(plan: SegmentPlan, slotCount: number): IoStatsRegion {
  const timing = plan.reserve('I/O timing', CACHE_LINE_WORDS);
  const head = plan.reserve('I/O statistics reset', CACHE_LINE_WORDS + SLOT_SIZE * WORDS_OF_DOUBLE);
  return {
    timing,
    resetAt: head / WORDS_OF_DOUBLE,
    baseline: (head + CACHE_LINE_WORDS) / WORDS_OF_DOUBLE,
    slots: plan.reserve('I/O statistics', slotCount * SLOT_SIZE * WORDS_OF_DOUBLE) / WORDS_OF_DOUBLE,
    slotCount,
  };
}

/** One thread's recorder. */
export class IoStats {
  readonly #words: SharedWords;
  readonly #doubles: Float64Array;
  readonly #timing: number;
  readonly #base: number;
  /** The kind of this thread's backend, if it has one: an index of `BACKEND_TYPES`. */
  backendType = 0;

  constructor(words: SharedWords, region: IoStatsRegion, slot: number) {
    this.#words = words;
    this.#doubles = words.doubles;
    this.#timing = region.timing;
    this.#base = region.slots + slot * SLOT_SIZE;
  }

  /** Whether clocks are to be read. A plain read: it need not be right at once. */
  get isTiming(): boolean {
    return this.#words.get(this.#timing) !== 0;
  }

  /** Of what is counted without I/O, by this backend for itself. */
  buffersOf(object: IoObject): BufferCounts {
    return new BufferCounts(
      this.#doubles,
      this.#base + this.backendType * TYPE_SIZE + IO_OBJECTS.indexOf(object) * OBJECT_SIZE,
    );
  }

  extended(object: IoObject, bytes: number): void {
    const row =
      this.#base + this.backendType * TYPE_SIZE + IO_OBJECTS.indexOf(object) * OBJECT_SIZE + EXTENDS;
    this.#add(row, 1);
    this.#add(row + 1, bytes);
  }

  /**
   * An I/O is over. All but `raw`, the kernel's answer, and `micros` are indices of the lists above; `micros` is
   * negative when nobody looked at the clock.
   */
  completed(
    type: number,
    object: number,
    context: number,
    operation: number,
    way: number,
    raw: number,
    micros: number,
  ): void {
    const row = this.#base + type * TYPE_SIZE + object * OBJECT_SIZE + context * CONTEXT_SIZE;
    const at = row + operation * OPERATION_FIELDS;
    this.#add(at, 1);
    if (raw >= 0) this.#add(at + 1, raw);
    else this.#add(row + FAILURES, 1);
    if (micros < 0) return;
    this.#add(at + 2, micros);
    const index = (object * IO_OPERATIONS.length + operation) * IO_WAYS.length + way;
    const histogram = this.#base + HISTOGRAMS_START + index * HISTOGRAM_SIZE;
    this.#add(histogram, 1);
    this.#add(histogram + 1, micros);
    if (micros > (this.#doubles[histogram + 2] as number)) this.#doubles[histogram + 2] = micros;
    this.#add(histogram + HISTOGRAM_HEAD + bucketOf(micros), 1);
  }

  #add(at: number, amount: number): void {
    this.#doubles[at] = (this.#doubles[at] as number) + amount;
  }
}

/** What a backend counts of a pool, by context: 0, or the kind of the ring of buffers. */
export class BufferCounts {
  // Plain private fields: `#` ones cost a brand check in each hit.
  private readonly doubles: Float64Array;
  private readonly base: number;

  constructor(doubles: Float64Array, base: number) {
    this.doubles = doubles;
    this.base = base;
  }

  hit(context: number): void {
    const at = this.base + context * CONTEXT_SIZE + HITS;
    this.doubles[at] = (this.doubles[at] as number) + 1;
  }

  /** A page was put out for another: one of the ring's own, or anybody's. */
  evicted(context: number, isOfRing: boolean): void {
    const at = this.base + context * CONTEXT_SIZE + (isOfRing ? REUSES : EVICTIONS);
    this.doubles[at] = (this.doubles[at] as number) + 1;
  }
}
