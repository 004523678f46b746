import assert from 'node:assert/strict';
import { it } from 'node:test';
import { defaultLogSink } from '../../src/base/log.js';

it('by default warnings become process warnings with all that they say, and the rest is dropped', async () => {
  const seen: Error[] = [];
  const listen = (warning: Error): void => {
    if (warning.name === 'PgaioWarning') seen.push(warning);
  };
  process.on('warning', listen);
  const event = { code: 'PGAIO_PAGE_ZEROED', message: 'zeroed', detail: 'Block 2.', hint: 'See the log.' };
  defaultLogSink({ level: 'log', ...event });
  defaultLogSink({ level: 'warning', ...event });
  defaultLogSink({ level: 'warning', message: 'bare' });
  await new Promise(setImmediate); // warnings are emitted in the next tick
  process.off('warning', listen);
  assert.deepEqual(
    seen.map(({ message, code, detail }: Error & { code?: string; detail?: string }) => [
      message,
      code,
      detail,
    ]),
    [
      ['zeroed', 'PGAIO_PAGE_ZEROED', 'Block 2.\nSee the log.'],
      ['bare', undefined, undefined],
    ],
  );
});
