/** What an instance has to say in numbers, once, for all bindings: counters, gauges and histograms with labels. */
import type { Instance } from '../instance/instance.js';
import type { IoStatsRow } from '../stats/io-stats-view.js';
import type { LatencyHistogram } from '../stats/latency-histogram.js';

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

export interface Counts {
  /** In words that a dot or an underscore joins. */
  readonly name: readonly string[];
  readonly help: string;
  /** Of OpenTelemetry (UCUM). */
  readonly unit: string;
  readonly type: 'counter' | 'gauge';
  readonly samples: readonly Sample[];
}

export interface Latencies {
  readonly labels: Labels;
  readonly latency: LatencyHistogram;
}

export interface Collected {
  readonly counts: readonly Counts[];
  /** While `trackIoTiming` is on. */
  readonly latencies: readonly Latencies[];
}

const OPERATIONS = [
  ['read', 'reads', 'readBytes', 'readMicros'],
  ['write', 'writes', 'writeBytes', 'writeMicros'],
  ['fsync', 'fsyncs', null, 'fsyncMicros'],
  ['extend', 'extends', 'extendBytes', null],
] as const;

const MICROS = 1e6;

export function collect(instance: Instance): Collected {
  const { io, latencies } = instance.stats();
  return {
    counts: [...ioCounts(io), ...bufferCounts(io), ...nowCounts(instance), checksumFailures(instance)],
    latencies: latencies.map(({ object, operation, method, latency }) => ({
      labels: { object, operation, method },
      latency,
    })),
  };
}

function labelsOf({ backendType, object, context }: IoStatsRow): Labels {
  return { backend_type: backendType, object, context };
}

function ioCounts(rows: readonly IoStatsRow[]): Counts[] {
  const operations: Sample[] = [];
  const bytes: Sample[] = [];
  const times: Sample[] = [];
  for (const row of rows) {
    for (const [operation, count, byteCount, micros] of OPERATIONS) {
      if (row[count] === 0) continue;
      const labels = { ...labelsOf(row), operation };
      operations.push({ labels, value: row[count] });
      if (byteCount !== null) bytes.push({ labels, value: row[byteCount] });
      if (micros !== null) times.push({ labels, value: row[micros] / MICROS });
    }
  }
  return [
    counter(['io', 'operations'], 'I/O operations.', '{operation}', operations),
    counter(['io', 'bytes'], 'Bytes read, written, and added to files.', 'By', bytes),
    counter(['io', 'time'], 'Time from start to completion, while trackIoTiming is on.', 's', times),
    ofRows(rows, 'failures', ['io', 'failures'], 'I/O operations that failed.', '{operation}'),
  ];
}

function bufferCounts(rows: readonly IoStatsRow[]): Counts[] {
  return [
    ofRows(rows, 'hits', ['buffer', 'hits'], 'Blocks that were in the pool.', '{block}'),
    ofRows(rows, 'evictions', ['buffer', 'evictions'], 'Pages put out of the pool.', '{block}'),
    ofRows(
      rows,
      'reuses',
      ['buffer', 'reuses'],
      'Pages put out of a ring of buffers by its user.',
      '{block}',
    ),
  ];
}

function ofRows(
  rows: readonly IoStatsRow[],
  field: 'hits' | 'evictions' | 'reuses' | 'failures',
  name: readonly string[],
  help: string,
  unit: string,
): Counts {
  const samples = rows
    .filter((row) => row[field] > 0)
    .map((row) => ({ labels: labelsOf(row), value: row[field] }));
  return counter(name, help, unit, samples);
}

function counter(name: readonly string[], help: string, unit: string, samples: readonly Sample[]): Counts {
  return { name, help, unit, type: 'counter', samples };
}

/** How it is at this moment. */
function nowCounts(instance: Instance): Counts[] {
  const operations = instance.inFlight().flatMap(({ operation }) => operation ?? []);
  const events = instance.backend.waits().flatMap(({ event }) => event ?? []);
  return [
    gauge(
      ['io', 'in_flight'],
      'I/O operations that are not over.',
      '{operation}',
      by('operation', operations),
    ),
    gauge(['backend', 'waits'], 'Backends that wait, by event.', '{backend}', by('event', events)),
    gauge(['workers'], 'I/O workers.', '{thread}', [{ labels: {}, value: instance.workerCount }]),
  ];
}

function gauge(name: readonly string[], help: string, unit: string, samples: readonly Sample[]): Counts {
  return { name, help, unit, type: 'gauge', samples };
}

/** How often each occurs. */
function by(label: string, values: readonly string[]): Sample[] {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].map(([value, count]) => ({ labels: { [label]: value }, value: count }));
}

function checksumFailures({ backend }: Instance): Counts {
  const failures = backend.hasLeft ? [] : backend.checksumFailures(); // a lock is taken in its name
  const samples = failures.map(({ dataDirectory, database, failures: value }) => ({
    labels: { data_directory: dataDirectory ?? '', database: String(database ?? '') },
    value,
  }));
  return counter(['checksum', 'failures'], 'Pages whose checksum was wrong.', '{page}', samples);
}
