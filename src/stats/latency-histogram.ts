/**
 * Latencies in buckets that grow with them: four to a doubling, so that a percentile is off by an eighth at most. Below
 * eight microseconds each microsecond has its own. The last bucket takes all that is longer than 17 minutes.
 */
const SUB_BITS = 2;
const SUBS = 1 << SUB_BITS;
const MICROS_MAX = 2 ** 30 - 1;

/** Which bucket counts a latency. */
export function bucketOf(micros: number): number {
  const whole = micros >= MICROS_MAX ? MICROS_MAX : micros > 0 ? Math.trunc(micros) : 0;
  if (whole < SUBS) return whole;
  const exponent = 31 - Math.clz32(whole);
  return ((exponent - SUB_BITS + 1) << SUB_BITS) + ((whole >>> (exponent - SUB_BITS)) & (SUBS - 1));
}

export const BUCKETS: number = bucketOf(MICROS_MAX) + 1;

/** The least latency of a bucket, in microseconds: the end of the one before. */
export function bucketStart(bucket: number): number {
  if (bucket < SUBS) return bucket;
  const exponent = (bucket >>> SUB_BITS) + SUB_BITS - 1;
  return 2 ** (exponent - SUB_BITS) * (SUBS + (bucket & (SUBS - 1)));
}

/** Plain data, as it goes through JSON. */
export interface HistogramData {
  readonly count: number;
  readonly sumMicros: number;
  /** Of the highest bucket that counted anything, if the longest of all was counted before a reset. */
  readonly maxMicros: number;
  /** How many, by bucket; as many as are needed. */
  readonly buckets: readonly number[];
}

/** Latencies of I/Os, from their start to their completion, the time in queues included. */
export class LatencyHistogram implements HistogramData {
  readonly count: number;
  readonly sumMicros: number;
  readonly maxMicros: number;
  readonly buckets: readonly number[];

  constructor({ count, sumMicros, maxMicros, buckets }: HistogramData) {
    this.count = count;
    this.sumMicros = sumMicros;
    this.maxMicros = maxMicros;
    this.buckets = buckets;
  }

  static readonly EMPTY: LatencyHistogram = new LatencyHistogram({
    count: 0,
    sumMicros: 0,
    maxMicros: 0,
    buckets: [],
  });

  get meanMicros(): number {
    return this.count === 0 ? 0 : this.sumMicros / this.count;
  }

  get p50(): number {
    return this.percentile(50);
  }

  get p90(): number {
    return this.percentile(90);
  }

  get p99(): number {
    return this.percentile(99);
  }

  /** Microseconds that `percent`, above 0 and at most 100, of the I/Os did not exceed: the end of a bucket; 0 of none. */
  percentile(percent: number): number {
    if (!(percent > 0 && percent <= 100)) throw new RangeError(`no percentile has the number ${percent}`);
    const total = this.buckets.reduce((sum, count) => sum + count, 0);
    const wanted = Math.ceil((total * percent) / 100);
    let seen = 0;
    for (const [bucket, count] of this.buckets.entries()) {
      seen += count;
      if (count > 0 && seen >= wanted) return Math.min(bucketStart(bucket + 1), this.maxMicros);
    }
    return 0;
  }

  /** How many took at most so many microseconds, as far as buckets tell: those that end there. */
  countUpTo(micros: number): number {
    let seen = 0;
    for (let bucket = 0; bucket < this.buckets.length && bucketStart(bucket + 1) <= micros; bucket++)
      seen += this.buckets[bucket] as number;
    return seen;
  }

  plus(other: HistogramData): LatencyHistogram {
    const length = Math.max(this.buckets.length, other.buckets.length);
    return new LatencyHistogram({
      count: this.count + other.count,
      sumMicros: this.sumMicros + other.sumMicros,
      maxMicros: Math.max(this.maxMicros, other.maxMicros),
      buckets: Array.from({ length }, (_, at) => (this.buckets[at] ?? 0) + (other.buckets[at] ?? 0)),
    });
  }

  /** What was counted since an earlier look at the same. */
  since(earlier: HistogramData): LatencyHistogram {
    const buckets = this.buckets.map((count, at) => Math.max(0, count - (earlier.buckets[at] ?? 0)));
    const last = buckets.findLastIndex((count) => count > 0);
    return new LatencyHistogram({
      count: Math.max(0, this.count - earlier.count),
      sumMicros: Math.max(0, this.sumMicros - earlier.sumMicros),
      maxMicros: Math.min(this.maxMicros, last < 0 ? 0 : bucketStart(last + 1)),
      buckets: buckets.slice(0, last + 1),
    });
  }
}
