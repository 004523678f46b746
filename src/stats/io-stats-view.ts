/** Reads what all threads have counted: see io-stats.ts. Made when it is asked for; sums of what is a moment old. */
import type { SharedWords } from '../shmem/words.js';
import {
  BACKEND_TYPES,
  FIELDS,
  HISTOGRAMS,
  HISTOGRAMS_START,
  HISTOGRAM_SIZE,
  IO_CONTEXTS,
  IO_OBJECTS,
  IO_OPERATIONS,
  IO_WAYS,
  ROWS,
  SLOT_SIZE,
  Timing,
  type BackendType,
  type Field,
  type IoContext,
  type IoObject,
  type IoOperation,
  type IoStatsRegion,
  type IoWay,
} from './io-stats.js';
import { BUCKETS, LatencyHistogram } from './latency-histogram.js';

/** How much of each was done since the reset, as pg_stat_io says it; times in microseconds, 0 while timing is off. */
export interface IoStatsRow extends Record<Exclude<Field, 'fsyncBytes'>, number> {
  /** Who started it. */
  backendType: BackendType;
  object: IoObject;
  context: IoContext;
}

/** Latencies of one kind of I/O. */
export interface IoLatencies {
  object: IoObject;
  operation: IoOperation;
  /** How it was carried out. */
  method: IoWay;
  latency: LatencyHistogram;
}

export interface InstanceStats {
  /** When counting began, or was last begun anew; null: with the instance. */
  statsReset: Date | null;
  /** Whether clocks are being read: without that, there are no times and no latencies. */
  trackIoTiming: boolean;
  /** Rows in which anything was counted. */
  io: IoStatsRow[];
  latencies: IoLatencies[];
}

export class IoStatsView {
  readonly #words: SharedWords;
  readonly #region: IoStatsRegion;

  constructor(words: SharedWords, region: IoStatsRegion) {
    this.#words = words;
    this.#region = region;
  }

  get isTiming(): boolean {
    return this.#words.load(this.#region.timing) !== 0;
  }

  /** One of `Timing`. */
  want(timing: number, on: boolean): void {
    if (on) this.#words.or(this.#region.timing, timing);
    else this.#words.and(this.#region.timing, ~timing);
  }

  get isWanted(): boolean {
    return (this.#words.load(this.#region.timing) & Timing.WANTED) !== 0;
  }

  /** From here on everything is counted from 0. */
  reset(): void {
    const { doubles } = this.#words;
    doubles.set(this.#sums(), this.#region.baseline);
    doubles[this.#region.resetAt] = Date.now();
  }

  read(): InstanceStats {
    const { doubles } = this.#words;
    const resetAt = doubles[this.#region.resetAt] as number;
    const { baseline } = this.#region;
    const before = doubles.slice(baseline, baseline + SLOT_SIZE); // before the counters: see io-stats.ts
    const sums = this.#sums();
    return {
      statsReset: resetAt === 0 ? null : new Date(resetAt),
      trackIoTiming: this.isTiming,
      io: rowsOf(sums, before),
      latencies: latenciesOf(sums, before),
    };
  }

  /** Of all slots, in the order of a slot's part; of the most, the most. */
  #sums(): Float64Array {
    const { doubles } = this.#words;
    const { slots, slotCount } = this.#region;
    const sums = new Float64Array(SLOT_SIZE);
    for (let slot = 0; slot < slotCount; slot++) {
      const part = doubles.subarray(slots + slot * SLOT_SIZE, slots + (slot + 1) * SLOT_SIZE);
      for (let at = 0; at < HISTOGRAMS_START; at++) sums[at] = (sums[at] as number) + (part[at] as number);
      for (let index = 0; index < HISTOGRAMS; index++)
        addHistogram(sums, part, HISTOGRAMS_START + index * HISTOGRAM_SIZE);
    }
    return sums;
  }
}

function addHistogram(sums: Float64Array, part: Float64Array, start: number): void {
  if (part[start] === 0) return; // most are: their memory need not be looked at
  const most = start + 2;
  const before = sums[most] as number;
  for (let at = start; at < start + HISTOGRAM_SIZE; at++)
    sums[at] = (sums[at] as number) + (part[at] as number);
  sums[most] = Math.max(before, part[most] as number);
}

function rowsOf(sums: Float64Array, before: Float64Array): IoStatsRow[] {
  const rows: IoStatsRow[] = [];
  for (let index = 0; index < ROWS; index++) {
    const start = index * FIELDS.length;
    const counted = FIELDS.map(
      (field, at) => [field, (sums[start + at] as number) - (before[start + at] as number)] as const,
    );
    if (counted.every(([, value]) => value === 0)) continue;
    const { fsyncBytes: _, ...values } = Object.fromEntries(counted) as Record<Field, number>;
    const object = Math.floor(index / IO_CONTEXTS.length);
    rows.push({
      backendType: BACKEND_TYPES[Math.floor(object / IO_OBJECTS.length)] as BackendType,
      object: IO_OBJECTS[object % IO_OBJECTS.length] as IoObject,
      context: IO_CONTEXTS[index % IO_CONTEXTS.length] as IoContext,
      ...values,
    });
  }
  return rows;
}

function latenciesOf(sums: Float64Array, before: Float64Array): IoLatencies[] {
  const found: IoLatencies[] = [];
  for (let index = 0; index < HISTOGRAMS; index++) {
    const start = HISTOGRAMS_START + index * HISTOGRAM_SIZE;
    const latency = histogramAt(sums, start).since(histogramAt(before, start));
    if (latency.count === 0) continue;
    const operation = Math.floor(index / IO_WAYS.length);
    found.push({
      object: IO_OBJECTS[Math.floor(operation / IO_OPERATIONS.length)] as IoObject,
      operation: IO_OPERATIONS[operation % IO_OPERATIONS.length] as IoOperation,
      method: IO_WAYS[index % IO_WAYS.length] as IoWay,
      latency,
    });
  }
  return found;
}

function histogramAt(doubles: Float64Array, start: number): LatencyHistogram {
  const [count = 0, sumMicros = 0, maxMicros = 0] = doubles.subarray(start, start + 3);
  const buckets = Array.from(doubles.subarray(start + HISTOGRAM_SIZE - BUCKETS, start + HISTOGRAM_SIZE));
  return new LatencyHistogram({ count, sumMicros, maxMicros, buckets });
}
