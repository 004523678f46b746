/** The bindings, read by the libraries that programs have: their own registry, their own SDK. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import { Counter, Registry } from 'prom-client';
import { observeInstance } from '../../src/metrics/opentelemetry.js';
import { contentType, prometheusText, registerMetrics } from '../../src/metrics/prometheus.js';
import { openRig, type Rig } from '../../testing/instances.js';
import { writeSample } from '../../testing/raw-reads.js';

const READS = 20;
const BYTES = 1000;

class AskedReader extends MetricReader {
  protected override async onShutdown(): Promise<void> {
    // nothing is kept
  }

  protected override async onForceFlush(): Promise<void> {
    // nothing is kept back
  }
}

describe('bindings', () => {
  let rig: Rig;

  before(async () => {
    rig = await openRig({ ioMethod: 'worker', trackIoTiming: true });
    const relation = rig.backend.openRelation(rig.data.path, rig.data.write(1, 10));
    for (let round = 0; round < 2; round++)
      for await (const buffer of rig.backend.readStream(relation)) buffer.release();
    await readFile();
  });
  after(() => rig.close());

  async function readFile(): Promise<void> {
    const file = rig.backend.openRawFile(writeSample(rig.data.path, READS * BYTES));
    for (let at = 0; at < READS; at++) await file.read(at * BYTES, BYTES);
    file.close();
  }

  const ofFile = '{backend_type="client backend",object="file",context="normal",operation="read"}';

  it('Prometheus: counters, gauges, and histograms that add up', () => {
    const lines = prometheusText(rig.instance).split('\n');
    assert.ok(lines.includes(`pgaio_io_operations_total${ofFile} ${READS}`), lines.join('\n'));
    assert.ok(lines.includes(`pgaio_io_bytes_total${ofFile} ${READS * BYTES}`));
    assert.ok(
      lines.includes(
        'pgaio_buffer_hits_total{backend_type="client backend",object="relation",context="normal"} 10',
      ),
    );
    assert.ok(lines.includes(`pgaio_workers ${rig.instance.workerCount}`));
    assert.ok(lines.includes('# TYPE pgaio_io_duration_seconds histogram'));
    const duration = lines.filter((line) => /^pgaio_io_duration_seconds_bucket.*"file"/.test(line));
    const counts = duration.map((line) => Number(line.split(' ').at(-1)));
    assert.deepEqual(
      counts,
      counts.toSorted((a, b) => a - b),
    );
    assert.equal(counts.at(-1), READS);
    assert.match(duration.at(-1) ?? '', /le="\+Inf"/);
    const labels = '{object="file",operation="read",method="worker"}';
    assert.ok(lines.includes(`pgaio_io_duration_seconds_count${labels} ${READS}`));
  });

  it('Prometheus: the registry of prom-client says the same, beside what else is in it', async () => {
    const registry = new Registry();
    new Counter({ name: 'requests', help: 'Others.', registers: [registry] }).inc(3);
    const labels = { instance: 'a "b"\\\n' };
    const unregister = registerMetrics(registry, rig.instance, { labels });
    const scraped = await registry.metrics();
    assert.equal(registry.contentType, contentType);
    assert.match(scraped, /^requests 3$/m);
    const own = scraped.split('\n').filter((line) => /^(# (HELP|TYPE) )?pgaio_/.test(line));
    assert.deepEqual(own, prometheusText(rig.instance, { labels }).trimEnd().split('\n'));
    assert.ok(own.some((line) => line.includes('instance="a \\"b\\"\\\\\\n"')));
    await readFile();
    const [again = ''] = (await registry.metrics())
      .split('\n')
      .filter((line) => line.includes('io_operations_total{') && line.includes('"file"'));
    assert.match(again, new RegExp(` ${2 * READS}$`));
    unregister();
    assert.deepEqual(
      registry.getMetricsAsArray().map(({ name }) => name),
      ['requests'],
    );
  });

  it('OpenTelemetry: a histogram of durations, if asked for', async () => {
    const reader = new AskedReader();
    const provider = new MeterProvider({ readers: [reader] });
    const stop = observeInstance(provider.getMeter('pgaio'), rig.instance, { durations: true });
    await readFile();
    stop();
    await readFile();
    const { resourceMetrics } = await reader.collect();
    const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
    const duration = metrics.find(({ descriptor }) => descriptor.name === 'pgaio.io.operation.duration');
    assert.equal(duration?.descriptor.unit, 's');
    const [point, ...others] = duration.dataPoints;
    assert.deepEqual(others, []);
    assert.deepEqual(point?.attributes, { 'pgaio.operation': 'readv', 'pgaio.target': 'file' });
    const { count, sum = 0 } = point.value as { count: number; sum?: number };
    assert.equal(count, READS);
    assert.ok(sum > 0);
    await provider.shutdown();
  });

  it('OpenTelemetry: observable instruments, read by the SDK', async () => {
    const reader = new AskedReader();
    const provider = new MeterProvider({ readers: [reader] });
    rig.instance.resetStats();
    const stop = observeInstance(provider.getMeter('pgaio'), rig.instance, {
      attributes: { 'service.shard': 3 },
    });
    await readFile();
    const points = async (name: string): Promise<{ attributes: object; value: unknown }[]> => {
      const { resourceMetrics } = await reader.collect();
      const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
      return metrics.find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? [];
    };
    const attributes = {
      'pgaio.backend_type': 'client backend',
      'pgaio.object': 'file',
      'pgaio.context': 'normal',
      'pgaio.operation': 'read',
      'service.shard': 3,
    };
    assert.deepEqual(
      (await points('pgaio.io.bytes')).map((point) => [point.attributes, point.value]),
      [[attributes, READS * BYTES]],
    );
    await readFile();
    const latencies = await points('pgaio.io.latency');
    assert.deepEqual(
      latencies.map((point) => (point.attributes as Record<string, unknown>)['pgaio.quantile']),
      [0.5, 0.9, 0.99, 1],
    );
    const values = latencies.map(({ value }) => value as number);
    assert.ok(values.every((seconds, at) => seconds > 0 && seconds >= (values[at - 1] ?? 0)));
    stop();
    await readFile();
    assert.deepEqual(
      (await points('pgaio.io.bytes')).map(({ value }) => value),
      [2 * READS * BYTES],
      'nobody asks the instance any more',
    );
    await provider.shutdown();
  });
});
