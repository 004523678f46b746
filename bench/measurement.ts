/** What one repetition of a case yields, and what many of them amount to. */

/** Of single operations, where each was timed. */
export interface Latency {
  readonly medianMicros: number;
  readonly p99Micros: number;
}

export interface Measurement {
  /** Operations within `seconds`: reads, blocks, hits, as the scenario counts. */
  readonly ops: number;
  readonly seconds: number;
  /** User and system time of everything that took part; null where it cannot be known. */
  readonly cpuSeconds: number | null;
  /** Blocks whose content was compared with the file's, before the measured part. */
  readonly checked: number;
  readonly latency?: Latency;
  /** Of a cache: share of the reads that it had. */
  readonly hitRate?: number;
}

export interface Summary {
  /** Operations a second: median, smallest, largest. */
  readonly rate: number;
  readonly rateMin: number;
  readonly rateMax: number;
  /** Median, in microseconds an operation. */
  readonly cpuMicros: number | null;
  /** Medians of the repetitions; null where single operations were not timed. */
  readonly latency: Latency | null;
  /** Median; null where there is no cache to hit. */
  readonly hitRate: number | null;
}

export function summarize(measurements: readonly Measurement[]): Summary {
  const rates = measurements.map((one) => one.ops / one.seconds);
  const cpu = measurements.flatMap((one) =>
    one.cpuSeconds === null ? [] : [(one.cpuSeconds / one.ops) * 1e6],
  );
  return {
    rate: median(rates),
    rateMin: Math.min(...rates),
    rateMax: Math.max(...rates),
    cpuMicros: cpu.length === 0 ? null : median(cpu),
    latency: summarizeLatency(measurements.flatMap(({ latency }) => latency ?? [])),
    hitRate: medianOf(measurements.flatMap(({ hitRate }) => hitRate ?? [])),
  };
}

function summarizeLatency(latencies: readonly Latency[]): Latency | null {
  if (latencies.length === 0) return null;
  return {
    medianMicros: median(latencies.map(({ medianMicros }) => medianMicros)),
    p99Micros: median(latencies.map(({ p99Micros }) => p99Micros)),
  };
}

function medianOf(values: readonly number[]): number | null {
  return values.length === 0 ? null : median(values);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
