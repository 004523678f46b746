import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SettingError } from '../../src/base/errors.js';
import { resolveSettings, type InstanceSettings, type ResolvedSettings } from '../../src/base/settings.js';
import { checkRange, parseBytes, parseMillis } from '../../src/base/units.js';

const resolve = (given: InstanceSettings): ResolvedSettings =>
  resolveSettings(given, { name: 'sync', reason: '' });

describe('units', () => {
  it('are PostgreSQL’s, and plain numbers are bytes and milliseconds', () => {
    assert.equal(parseBytes('x', '128kB'), 128 * 1024);
    assert.equal(parseBytes('x', ' 1.5 MB '), 1.5 * 1024 ** 2);
    assert.equal(parseBytes('x', '2GB'), 2 * 1024 ** 3);
    assert.equal(parseBytes('x', '17'), 17);
    assert.equal(parseBytes('x', 17), 17);
    assert.equal(parseMillis('x', '1min'), 60_000);
    assert.equal(parseMillis('x', '500us'), 0.5);
    assert.equal(parseMillis('x', '-1'), -1);
  });

  it('that do not exist are refused, with those that do', () => {
    for (const bad of ['128KB', '1mb', '', 'kB', '1 2kB', '0x10', 'NaN', '1min']) {
      assert.throws(
        () => parseBytes('sharedBuffers', bad),
        (error: SettingError) =>
          error.code === 'ERR_PGAIO_SETTING' &&
          error.message.includes('sharedBuffers') &&
          /kB, MB/.test(error.hint ?? ''),
        bad,
      );
    }
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY])
      assert.throws(() => parseBytes('x', bad), SettingError);
  });

  it('survive the way there and back', () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.constantFrom('kB', 'MB', 'GB'), (count, unit) => {
        const factor = { kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 }[unit];
        assert.equal(parseBytes('x', `${count}${unit}`), count * (factor ?? 0));
      }),
    );
  });

  it('ranges are closed, and named when they are missed', () => {
    assert.equal(checkRange('x', 1, 1, 32), 1);
    assert.equal(checkRange('x', 32, 1, 32), 32);
    for (const bad of [0, 33, 1.5, Number.NaN]) {
      assert.throws(() => checkRange('x', bad, 1, 32), {
        code: 'ERR_PGAIO_SETTING',
        message: `${bad} is outside the valid range for x (1 .. 32)`,
      });
    }
  });
});

describe('settings', () => {
  it('have PostgreSQL’s defaults', () => {
    const settings = resolve({});
    assert.equal(settings.ioMinWorkers, 2);
    assert.equal(settings.ioMaxWorkers, 8);
    assert.equal(settings.ioCombineLimit, 16);
    assert.equal(settings.effectiveIoConcurrency, 16);
    assert.equal(settings.ioMaxConcurrency, 64);
    assert.equal(settings.sharedBuffers, 16_384);
    assert.equal(settings.tempBuffers, 1024);
  });

  it('D-91: 0 handles are refused, -1 chooses a share of the pool, a positive number is taken', () => {
    assert.throws(() => resolve({ ioMaxConcurrency: 0 }), /only -1 or values greater than 0/);
    assert.throws(() => resolve({ ioMaxConcurrency: 1025 }), /\(1 \.\. 1024\)/);
    assert.equal(resolve({ ioMaxConcurrency: 3 }).ioMaxConcurrency, 3);
    assert.equal(resolve({ sharedBuffers: '1MB', maxBackends: 10 }).ioMaxConcurrency, 12);
    assert.equal(resolve({ sharedBuffers: '128kB', maxBackends: 222 }).ioMaxConcurrency, 1);
  });

  const outside: [InstanceSettings, RegExp][] = [
    [{ ioMinWorkers: 0 }, /0 .*ioMinWorkers \(1 \.\. 32\)/],
    [{ ioMaxWorkers: 33 }, /33 .*ioMaxWorkers \(1 \.\. 32\)/],
    [{ ioMinWorkers: 5, ioMaxWorkers: 4 }, /must not be below/],
    [{ ioWorkerIdleTimeout: -2 }, /\(-1 \.\. /],
    [{ ioCombineLimit: 0 }, /ioCombineLimit \(8kB \.\. 1024kB\)/],
    [{ ioMaxCombineLimit: '2MB' }, /ioMaxCombineLimit \(8kB \.\. 1024kB\)/],
    [{ sharedBuffers: '64kB' }, /sharedBuffers \(128kB \.\. /],
    [{ tempBuffers: '792kB' }, /tempBuffers \(800kB \.\. 4194304kB\)/],
    [{ ioMemory: 0 }, /ioMemory \(16kB \.\. /],
    [{ maxBackends: 223 }, /maxBackends \(1 \.\. 222\)/],
    [{ maxFilesPerProcess: 63 }, /maxFilesPerProcess \(64 \.\. /],
    [{ effectiveIoConcurrency: 1001 }, /effectiveIoConcurrency \(0 \.\. 1000\)/],
    [{ nonsense: 1 } as InstanceSettings, /unknown setting "nonsense"/],
  ];
  for (const [given, message] of outside) {
    it(`refuses ${JSON.stringify(given)} with the range`, () => {
      assert.throws(() => resolve(given), { name: 'SettingError', message });
    });
  }

  it('a combine limit above its maximum is cut, as in PostgreSQL', () => {
    assert.equal(resolve({ ioCombineLimit: '1MB', ioMaxCombineLimit: '64kB' }).ioCombineLimit, 8);
  });
});
