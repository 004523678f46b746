import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { missing } from '../../bench/found.js';
import { median, summarize, type Measurement } from '../../bench/measurement.js';
import { formatMicros, formatRate, formatScenario } from '../../bench/report.js';
import { runScenario } from '../../bench/run.js';
import type { Bench, Case, Scenario, Target } from '../../bench/scenario.js';

const bench: Bench = {
  methods: [],
  table: { dataDirectory: '', database: 1, relation: 1, blocks: 0, files: [] },
  postgres: missing('none here'),
  walDirectory: '',
  seconds: 0,
};

/** A case with so many operations a second, repetition by repetition. */
function caseWith(name: string, rates: number[], calls: string[] = []): Case {
  let rep = 0;
  return {
    name,
    pageCache: 'any',
    measure: async (): Promise<Measurement> => {
      calls.push(name);
      const ops = rates[rep++];
      if (ops === undefined) throw new Error('no more');
      return { ops, seconds: 1, cpuSeconds: null, checked: 0 };
    },
  };
}

function scenarioOf(cases: Case[], targets: Target[] = []): Scenario {
  return { name: 'fake', about: 'nothing', unit: 'things', plan: () => ({ cases, targets }) };
}

describe('running a scenario', () => {
  it('lets cases take turns', async () => {
    const calls: string[] = [];
    const cases = [caseWith('a', [1, 2], calls), caseWith('b', [3, 4], calls)];
    await runScenario(scenarioOf(cases), bench, { reps: 2 });
    assert.deepEqual(calls, ['a', 'b', 'a', 'b']);
  });

  it('compares the medians of the best on both sides', async () => {
    const cases = [caseWith('a', [10, 1, 30]), caseWith('a2', [20, 20, 20]), caseWith('b', [4, 5, 100])];
    const targets = [
      { text: '3 × b', of: ['a', 'a2'], atLeast: 3, over: ['b'] },
      { text: '10/s', of: ['a'], atLeast: 10 },
      { text: '2 × c', of: ['a'], atLeast: 2, over: ['c'] },
    ];
    const result = await runScenario(scenarioOf(cases, targets), bench, { reps: 3 });
    assert.deepEqual(
      result.targets.map(({ measured, of, over }) => [measured, of, over]),
      [
        [4, 'a2', 'b'],
        [10, 'a', null],
        [null, 'a', null],
      ],
    );
    const text = formatScenario(result);
    assert.match(text, /3 × b: 4\.00 × .*met.*a2 over b/);
    assert.match(text, /2 × c: not measured/);
  });

  it('compares the CPU an operation of the fastest on both sides', async () => {
    const withCpu = (name: string, ops: number, cpuSeconds: number | null): Case => ({
      name,
      pageCache: 'any',
      measure: () => Promise.resolve({ ops, seconds: 1, cpuSeconds, checked: 0 }),
    });
    // The slower `a` uses less, but it is not the one that the rate is claimed for.
    const cases = [
      withCpu('a', 10, 0.001),
      withCpu('a2', 20, 0.2),
      withCpu('b', 4, 0.2),
      withCpu('c', 4, null),
    ];
    const targets = [
      { text: '0.25 × b', of: ['a', 'a2'], atMostCpu: 0.25, over: ['b'] },
      { text: '0.1 × b', of: ['a2'], atMostCpu: 0.1, over: ['b'] },
      { text: '0.1 × c', of: ['a2'], atMostCpu: 0.1, over: ['c'] },
    ];
    const result = await runScenario(scenarioOf(cases, targets), bench, { reps: 1 });
    assert.deepEqual(
      result.targets.map(({ kind, measured, of, over }) => [kind, measured, of, over]),
      [
        ['cpu', 0.2, 'a2', 'b'],
        ['cpu', 0.2, 'a2', 'b'],
        ['cpu', null, 'a2', 'c'],
      ],
    );
    const text = formatScenario(result);
    assert.match(text, /0\.25 × b: 0\.20 × .*met/);
    assert.match(text, /0\.1 × b: 0\.20 × .*missed/);
    assert.match(text, /0\.1 × c: not measured/);
  });

  it('compares the median time of an operation of the quickest on both sides', async () => {
    const withLatency = (name: string, ops: number, medianMicros?: number): Case => ({
      name,
      pageCache: 'any',
      measure: () =>
        Promise.resolve({
          ops,
          seconds: 1,
          cpuSeconds: null,
          checked: 0,
          ...(medianMicros === undefined ? {} : { latency: { medianMicros, p99Micros: 9000 } }),
        }),
    });
    // What comes seldom and takes long makes `a` slower a second than `a2`, though most of its operations are quicker.
    const cases = [
      withLatency('a', 10, 110),
      withLatency('a2', 20, 150),
      withLatency('b', 30, 100),
      withLatency('c', 5),
    ];
    const targets: Target[] = [
      { text: '1.2 × b', of: ['a', 'a2'], atMostLatency: 1.2, over: ['b'] },
      { text: '1.05 × b', of: ['a'], atMostLatency: 1.05, over: ['b'] },
      { text: '2 × c', of: ['a'], atMostLatency: 2, over: ['c'] },
    ];
    const result = await runScenario(scenarioOf(cases, targets), bench, { reps: 1 });
    assert.deepEqual(
      result.targets.map(({ kind, measured, of, over }) => [kind, measured, of, over]),
      [
        ['latency', 1.1, 'a', 'b'],
        ['latency', 1.1, 'a', 'b'],
        ['latency', null, 'a', null],
      ],
    );
    const text = formatScenario(result);
    assert.match(text, /1\.2 × b: 1\.10 × .*met/);
    assert.match(text, /1\.05 × b: 1\.10 × .*missed/);
    assert.match(text, /2 × c: not measured/);
    assert.match(text, /110 µs.*9\.00 ms/);
  });

  it('goes on without a case that fails, and says so', async () => {
    const result = await runScenario(scenarioOf([caseWith('a', [1]), caseWith('b', [2, 2])]), bench, {
      reps: 2,
    });
    assert.deepEqual(
      result.cases.map(({ failed, measurements }) => [failed, measurements.length]),
      [
        [true, 1],
        [false, 2],
      ],
    );
    assert.match(formatScenario(result), /FAILED.*no more/);
  });

  it('skips what is missing, with the reason, and runs only what is wanted', async () => {
    const calls: string[] = [];
    const cases = [{ ...caseWith('a', [1], calls), missing: 'no a here' }, caseWith('b', [1], calls)];
    const result = await runScenario(scenarioOf(cases), bench, { reps: 1, wanted: (name) => name === 'a' });
    assert.deepEqual(calls, []);
    assert.match(formatScenario(result), /a: not measured: no a here/);

    const none: Scenario = { ...scenarioOf(cases), missing: () => 'nothing here' };
    assert.equal((await runScenario(none, bench, { reps: 1 })).missing, 'nothing here');
  });
});

describe('numbers', () => {
  it('medians of odd and even counts', () => {
    assert.equal(median([5, 1, 3]), 3);
    assert.equal(median([4, 1, 3, 2]), 2.5);
  });

  it('summarizes rates and CPU time, where that is known', () => {
    const one = { ops: 100, seconds: 2, cpuSeconds: 1, checked: 0 };
    assert.deepEqual(summarize([one, { ...one, ops: 200 }]), {
      rate: 75,
      rateMin: 50,
      rateMax: 100,
      cpuMicros: 7500,
      latency: null,
      hitRate: null,
    });
    assert.equal(summarize([0.2, 0.9, 0.4].map((hitRate) => ({ ...one, hitRate }))).hitRate, 0.4);
    const latency = (medianMicros: number): Measurement => ({
      ...one,
      latency: { medianMicros, p99Micros: 7 },
    });
    assert.deepEqual(summarize([1, 2, 9].map(latency)).latency, { medianMicros: 2, p99Micros: 7 });
    assert.equal(summarize([{ ...one, cpuSeconds: null }]).cpuMicros, null);
  });

  it('are short to read', () => {
    assert.deepEqual([12, 1234, 45_678_901].map(formatRate), ['12.0', '1.23 k', '45.7 M']);
    assert.deepEqual([0.0391, 2.5, 1600].map(formatMicros), ['39.1 ns', '2.50 µs', '1.60 ms']);
  });
});
