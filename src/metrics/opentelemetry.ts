/**
 * The statistics of an instance as instruments of OpenTelemetry that are asked for their values. It has no histogram of
 * that kind, so latencies are gauges: percentiles of what was completed since the last collection.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Attributes, BatchObservableResult, Meter, Observable } from '@opentelemetry/api';
import { IO_CHANNEL, type IoTrace } from '../aio/tracing.js';
import type { Instance } from '../instance/instance.js';
import { LatencyHistogram } from '../stats/latency-histogram.js';
import { collect, type Counts, type Labels, type Latencies } from './collect.js';

const PREFIX = 'pgaio';
const LATENCY = `${PREFIX}.io.latency`;
const DURATION = `${PREFIX}.io.operation.duration`;
const IO_END = `tracing:${IO_CHANNEL}:asyncEnd`;
const QUANTILES = [0.5, 0.9, 0.99, 1];

export interface OpenTelemetryOptions {
  /** Added to every observation, for instance to tell instances of one process apart. */
  attributes?: Attributes;
  /** Also a histogram, recorded for each I/O that a backend of this thread starts. Default false. */
  durations?: boolean;
}

/**
 * Makes the instruments of an instance with a meter, as `metrics.getMeter('pgaio')` returns it: `pgaio.io.operations`,
 * `pgaio.io.bytes`, … Each collection asks the instance once. Returns what ends that.
 */
export function observeInstance(
  meter: Meter,
  instance: Instance,
  options: OpenTelemetryOptions = {},
): () => void {
  const instruments = new Map(collect(instance).counts.map((one) => [nameOf(one), instrument(meter, one)]));
  const latency = meter.createObservableGauge(LATENCY, {
    description: 'Percentiles of the time from start to completion since the last collection.',
    unit: 's',
  });
  const recent = new RecentLatencies();
  const observe = (result: BatchObservableResult): void => {
    const { counts, latencies } = collect(instance);
    for (const one of counts)
      for (const { labels, value } of one.samples)
        result.observe(instruments.get(nameOf(one)) as Observable, value, attributesOf(labels, options));
    for (const { labels, latency: since } of recent.of(latencies))
      for (const quantile of QUANTILES)
        result.observe(latency, since.percentile(quantile * 100) / 1e6, {
          ...attributesOf(labels, options),
          [`${PREFIX}.quantile`]: quantile,
        });
  };
  const observables = [...instruments.values(), latency];
  meter.addBatchObservableCallback(observe, observables);
  const endDurations = options.durations === true ? recordDurations(meter, options) : null;
  return () => {
    endDurations?.();
    meter.removeBatchObservableCallback(observe, observables);
  };
}

/** Seconds: what a disk's latencies lie between. */
const DURATION_BOUNDS = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1, 3, 10];

function recordDurations(meter: Meter, { attributes }: OpenTelemetryOptions): () => void {
  const histogram = meter.createHistogram(DURATION, {
    description: 'Time from the start of an I/O until its result was taken, of backends of this thread.',
    unit: 's',
    advice: { explicitBucketBoundaries: DURATION_BOUNDS },
  });
  const onEnd = (message: unknown): void => {
    const { operation, target, durationMicros = 0, error } = message as IoTrace;
    histogram.record(durationMicros / 1e6, {
      ...attributes,
      [`${PREFIX}.operation`]: operation,
      [`${PREFIX}.target`]: target,
      ...(error !== undefined && { 'error.type': error.name }),
    });
  };
  subscribe(IO_END, onEnd);
  return () => {
    unsubscribe(IO_END, onEnd);
  };
}

/** What came since it was asked last. */
class RecentLatencies {
  #last = new Map<string, LatencyHistogram>();

  of(latencies: readonly Latencies[]): Latencies[] {
    const before = this.#last;
    this.#last = new Map(latencies.map(({ labels, latency }) => [JSON.stringify(labels), latency]));
    return latencies
      .map(({ labels, latency }) => ({
        labels,
        latency: latency.since(before.get(JSON.stringify(labels)) ?? LatencyHistogram.EMPTY),
      }))
      .filter(({ latency }) => latency.count > 0);
  }
}

function instrument(meter: Meter, one: Counts): Observable {
  const options = { description: one.help, unit: one.unit };
  return one.type === 'counter'
    ? meter.createObservableCounter(nameOf(one), options)
    : meter.createObservableUpDownCounter(nameOf(one), options);
}

function nameOf({ name }: Counts): string {
  return [PREFIX, ...name].join('.');
}

function attributesOf(labels: Labels, { attributes }: OpenTelemetryOptions): Attributes {
  const own = Object.entries(labels).map(([label, value]) => [`${PREFIX}.${label}`, value] as const);
  return { ...attributes, ...Object.fromEntries(own) };
}
