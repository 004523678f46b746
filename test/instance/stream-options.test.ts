/** What a stream or a read is told and cannot go by is refused at once, and says what it should be. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Backend } from '../../src/instance/backend.js';
import { attachInstance, createInstance } from '../../src/instance/instance.js';
import type { StreamOptions } from '../../src/instance/relation-options.js';
import type { SmgrRelation } from '../../src/smgr/smgr.js';
import { openRig, type Rig } from '../../testing/instances.js';

describe('options of streams', () => {
  let rig: Rig;
  let backend: Backend;
  let relation: SmgrRelation;

  before(async () => {
    rig = await openRig({ ioMethod: 'sync' });
    backend = rig.backend;
    relation = backend.openRelation(rig.data.path, rig.data.write(100, 3));
  });
  after(async () => rig.close());

  function assertRefused(options: unknown, message: RegExp): void {
    assert.throws(() => backend.readStream(relation, options as StreamOptions), {
      name: 'SettingError',
      message,
    });
  }

  it('reads in flight are an integer from 0 to 1000', async () => {
    for (const ioConcurrency of [-1, 1.5, NaN, 1001, Infinity, '4'])
      assertRefused({ ioConcurrency }, /is outside the valid range for ioConcurrency \(0 \.\. 1000\)/);
    for (const ioConcurrency of [0, 1000]) {
      const blocks: number[] = [];
      for await (const { block } of backend.readStream(relation, { ioConcurrency })) blocks.push(block);
      assert.deepEqual(blocks, [0, 1, 2]);
    }
  });

  it('a strategy is a kind, or a ring that was made', () => {
    for (const strategy of ['bulk', '', 5, {}, false]) {
      assertRefused({ strategy }, /invalid value for strategy/);
      assert.throws(() => backend.accessStrategy(strategy as never), {
        name: 'SettingError',
        hint: /bulkread, bulkwrite, vacuum/,
      });
    }
    backend.readStream(relation, { strategy: null }).close();
    backend.readStream(relation, { strategy: backend.accessStrategy('vacuum') }).close();
  });

  it('switches are true or false, callbacks functions', () => {
    assertRefused({ zeroOnError: 'yes' }, /zeroOnError must be true or false, not "yes"/);
    assertRefused({ noChecksums: 1 }, /noChecksums must be true or false, not 1/);
    assertRefused({ nextBlock: 5 }, /nextBlock must be a function, not 5/);
    assertRefused({ perBufferData: {} }, /perBufferData must be a function/);
  });

  it("a backend's choices about bad pages are true or false: a string that says off is not off", () => {
    assert.throws(() => (backend.zeroDamagedPages = 'off' as never), { name: 'SettingError' });
    assert.throws(() => (backend.ignoreChecksumFailure = 'off' as never), { name: 'SettingError' });
    assert.equal(backend.zeroDamagedPages, false);
    assert.equal(backend.ignoreChecksumFailure, false);
  });

  it('what is no block number is refused, in the pool as well', async () => {
    (await backend.readBlock(relation, 1)).release();
    for (const block of [1.5, -1, NaN, '1'] as number[]) {
      const refusal = { name: 'RangeError', message: /is not a block number/ };
      assert.throws(() => backend.pinCached(relation, block), refusal);
      await assert.rejects(backend.readBlock(relation, block), refusal);
    }
  });

  it('what is no relation, no path, no scope or no pages is refused with a sentence', async () => {
    const { path } = rig.data;
    const wrong: [() => unknown, RegExp][] = [
      [
        () => backend.openRelation(7 as never, { relation: 1 }),
        /^the path of a data directory is needed, not 7$/,
      ],
      [() => backend.openRawFile(undefined as never), /^the path of a file is needed, not undefined$/],
      [() => backend.openRawFile(''), /^the path of a file is needed, not ''$/],
      [() => backend.readStream({ path } as never), /^a relation .* is needed, not another object$/],
      [
        () => backend.readStream(relation, { scope: 5 as never }),
        /^a scope of this backend is needed, not 5$/,
      ],
      [() => backend.readBlock(null as never, 1), /^a relation .* is needed, not null$/],
      [() => backend.extendRelation(relation, '3' as never), /^a number of pages, or .* is needed, not '3'$/],
      [() => createInstance(5 as never), /^an object of settings is needed, not 5$/],
      [() => createInstance(null as never), /^an object of settings is needed, not null$/],
      [() => attachInstance('instance' as never), /^the handle of an instance is needed, not 'instance'$/],
    ];
    for (const [what, message] of wrong) {
      await assert.rejects(async () => what(), { name: 'TypeError', message });
    }
  });
});
