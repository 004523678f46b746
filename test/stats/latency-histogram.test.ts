import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { BUCKETS, LatencyHistogram, bucketOf, bucketStart } from '../../src/stats/latency-histogram.js';

const HOUR = 3.6e9;

function histogramOf(latencies: readonly number[]): LatencyHistogram {
  const buckets = new Array<number>(BUCKETS).fill(0);
  for (const micros of latencies) (buckets[bucketOf(micros)] as number)++;
  const sumMicros = latencies.reduce((sum, micros) => sum + micros, 0);
  return new LatencyHistogram({
    count: latencies.length,
    sumMicros,
    maxMicros: Math.max(0, ...latencies),
    buckets,
  });
}

describe('latency histogram', () => {
  it('buckets follow each other without gaps, and hold what belongs to them', () => {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      assert.equal(bucketOf(bucketStart(bucket)), bucket);
      if (bucket > 0) assert.equal(bucketOf(bucketStart(bucket) - 0.001), bucket - 1);
    }
    assert.equal(bucketOf(HOUR), BUCKETS - 1);
    assert.equal(bucketOf(-1), 0);
  });

  it('percentiles are at most a quarter above what they stand for, and never below', () => {
    const latency = fc.double({ min: 0, max: 1e9, noNaN: true });
    const percents = fc.double({ min: 0.1, max: 100, noNaN: true });
    fc.assert(
      fc.property(fc.array(latency, { minLength: 1, maxLength: 50 }), percents, (latencies, percent) => {
        const sorted = latencies.toSorted((a, b) => a - b);
        const exact = sorted[Math.ceil((sorted.length * percent) / 100) - 1]!;
        const found = histogramOf(latencies).percentile(percent);
        assert.ok(found >= exact, `${found} of ${exact}`);
        assert.ok(found <= Math.max(exact + 1, exact * 1.25), `${found} of ${exact}`);
      }),
    );
  });

  it('of nothing, everything is 0; a percentile is above 0 and at most 100', () => {
    const { p50, p99, meanMicros, count } = LatencyHistogram.EMPTY;
    assert.deepEqual([p50, p99, meanMicros, count], [0, 0, 0, 0]);
    for (const percent of [0, -1, 101, NaN])
      assert.throws(() => LatencyHistogram.EMPTY.percentile(percent), RangeError);
  });

  it('adds up, tells what came since, and how many came up to a bound', () => {
    const before = histogramOf([3, 100, 1e6]);
    const after = before.plus(histogramOf([5, 9]));
    const since = after.since(before);
    assert.deepEqual([after.count, since.count, since.sumMicros], [5, 2, 14]);
    assert.deepEqual([since.p50, since.p99, since.maxMicros], [6, 10, 10]);
    assert.deepEqual([after.countUpTo(6), after.countUpTo(128), after.countUpTo(HOUR)], [2, 4, 5]);
    assert.equal(new LatencyHistogram(JSON.parse(JSON.stringify(after)) as LatencyHistogram).p90, after.p90);
  });
});
