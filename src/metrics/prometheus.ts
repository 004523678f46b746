/**
 * The statistics of an instance for Prometheus: as text, for a program without a library for that; or in a registry of
 * `prom-client`, which cannot be given a histogram that was counted elsewhere, but asks whatever is registered for its
 * values. Names and bounds are the same.
 */
import type { Instance } from '../instance/instance.js';
import { collect, type Collected, type Counts, type Labels, type Latencies, type Sample } from './collect.js';

/** The content type of `prometheusText`. */
export const contentType = 'text/plain; version=0.0.4; charset=utf-8';

const PREFIX = 'pgaio';
const DURATION = `${PREFIX}_io_duration_seconds`;
const DURATION_HELP = 'Time from start to completion of an I/O operation, while trackIoTiming is on.';
/** From 4 µs to 8 s, where buckets of the instance end: nothing is guessed. */
const BOUNDS_MICROS: readonly number[] = Array.from({ length: 22 }, (_, at) => 2 ** (at + 2));

export interface PrometheusOptions {
  /** Added to every sample, for instance to tell instances of one process apart. */
  labels?: Labels;
}

/** A `Registry` of `prom-client`, whose types nobody needs who takes the text. */
export interface MetricsRegistry {
  registerMetric(metric: never): void;
  removeSingleMetric(name: string): void;
}

interface Value extends Sample {
  readonly metricName?: string;
}

interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly values: readonly Value[];
}

/** The metrics of an instance in the text format, version 0.0.4; other text of that format may be put behind it. */
export function prometheusText(instance: Instance, options: PrometheusOptions = {}): string {
  const { labels = {} } = options;
  const lines = metricsOf(collect(instance)).flatMap(({ name, help, type, values }) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...values.map((sample) => line(sample.metricName ?? name, { ...sample.labels, ...labels }, sample.value)),
  ]);
  return `${lines.join('\n')}\n`;
}

/**
 * Registers the metrics of an instance with a registry of `prom-client`; each scrape asks the instance once. Returns what
 * takes them out again. One registry can have one instance; to have several, give each a registry, and merge these.
 */
export function registerMetrics(
  registry: MetricsRegistry,
  instance: Instance,
  options: PrometheusOptions = {},
): () => void {
  const { labels = {} } = options;
  let scrape: readonly Metric[] | null = null;
  /** A registry asks all metrics in a row. */
  const scraped = (): readonly Metric[] => {
    if (scrape === null) queueMicrotask(() => (scrape = null));
    return (scrape ??= metricsOf(collect(instance)));
  };
  const names = metricsOf(collect(instance)).map(({ name, help, type }) => {
    const get = async (): Promise<object> => {
      const { values } = scraped().find((metric) => metric.name === name) ?? { values: [] };
      return {
        name,
        help,
        type,
        values: values.map((value) => ({ ...value, labels: { ...value.labels, ...labels } })),
        aggregator: 'sum',
      };
    };
    // What is counted is the instance's: `resetStats` resets it, not a registry.
    const metric = { name, help, type, aggregator: 'sum', get, reset: () => undefined };
    registry.registerMetric(metric as never);
    return name;
  });
  return () => {
    for (const name of names) registry.removeSingleMetric(name);
  };
}

function metricsOf({ counts, latencies }: Collected): Metric[] {
  return [
    ...counts.map((one) => ({ name: nameOf(one), help: one.help, type: one.type, values: one.samples })),
    {
      name: DURATION,
      help: DURATION_HELP,
      type: 'histogram' as const,
      values: latencies.flatMap((one) => histogramValues(one)),
    },
  ];
}

/** Base units in names, and what counts says so at the end. */
function nameOf({ name, unit, type }: Counts): string {
  const seconds = unit === 's' ? ['seconds'] : [];
  const total = type === 'counter' ? ['total'] : [];
  return [PREFIX, ...name, ...seconds, ...total].join('_');
}

function histogramValues({ labels, latency }: Latencies): Value[] {
  // Not `count`, which may be a moment ahead of the buckets: those of a histogram must add up.
  const count = latency.buckets.reduce((sum, one) => sum + one, 0);
  const bucket = (le: string, value: number): Value => ({
    metricName: `${DURATION}_bucket`,
    labels: { le, ...labels },
    value,
  });
  return [
    ...BOUNDS_MICROS.map((micros) => bucket(String(micros / 1e6), latency.countUpTo(micros))),
    bucket('+Inf', count),
    { metricName: `${DURATION}_sum`, labels, value: latency.sumMicros / 1e6 },
    { metricName: `${DURATION}_count`, labels, value: count },
  ];
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escape(text)}"`);
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`;
}

function escape(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}
