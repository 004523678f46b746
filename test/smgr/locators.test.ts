/** What is no locator, or no fork, is refused: in shared memory it would find the pages of another relation. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Backend } from '../../src/instance/backend.js';
import { Fork, type RelationLocator } from '../../src/smgr/relation.js';
import { forEachMethod, openRig, withRig, type Rig } from '../../testing/instances.js';
import { stampOf } from '../../testing/relations.js';

describe('locators and forks', () => {
  let rig: Rig;
  let backend: Backend;

  before(async () => {
    rig = await openRig({ ioMethod: 'sync' });
    backend = rig.backend;
  });
  after(async () => rig.close());

  it('a number that is none, or does not fit into a word of shared memory, is refused', () => {
    rig.data.write(100, 3);
    const open = (locator: unknown): unknown =>
      backend.openRelation(rig.data.path, locator as RelationLocator);
    for (const relation of [100.5, 100 + 2 ** 32, '100', -1, 0, NaN, undefined])
      assert.throws(() => open({ database: 5, relation }), {
        name: 'RangeError',
        message: `${String(relation)} is not the number of a relation: give an integer from 1 to 4294967295`,
      });
    assert.throws(() => open({ database: '../5', relation: 100 }), /is not the number of a database/);
    assert.throws(
      () => open({ tablespace: 0, database: 5, relation: 100 }),
      /is not the number of a tablespace/,
    );
    open({ database: 4294967295, relation: 4294967295 });
  });

  it('a fork that is none is refused, whatever is to be done with it', async () => {
    const relation = backend.openRelation(rig.data.path, rig.data.write(101, 3));
    (await backend.readBlock(relation, 1)).release();
    for (const fork of [4, -1, 'main', 256] as unknown as Fork[]) {
      const refusal = { name: 'RangeError', message: /is not a fork: give one of Fork.MAIN/ };
      assert.throws(() => backend.readStream(relation, { fork }), refusal);
      assert.throws(() => backend.pinCached(relation, 1, { fork }), refusal);
      await assert.rejects(backend.readBlock(relation, 1, { fork }), refusal);
      await assert.rejects(backend.discardBuffers(relation, { fork }), refusal);
      assert.throws(() => relation.exists(fork), refusal);
    }
    assert.equal(relation.exists(Fork.FSM), false);
  });
});

forEachMethod((ioMethod) => {
  it('a relation that another backend has opened is refused, and the refusal costs nothing', async () => {
    await withRig({ ioMethod }, async (rig) => {
      const other = await rig.attach();
      const locator = rig.data.write(100, 3);
      const theirs = other.openRelation(rig.data.path, locator);
      const refusal = {
        name: 'SettingError',
        message: /was opened by another backend/,
        hint: /openRelation/,
      };
      const { backend } = rig;
      await assert.rejects(backend.readBlock(theirs, 1), refusal);
      assert.throws(() => backend.readStream(theirs), refusal);
      assert.throws(() => backend.pinCached(theirs, 1), refusal);
      await assert.rejects(backend.dropRelation(theirs), refusal);
      const own = backend.openRelation(rig.data.path, locator);
      const buffer = await backend.readBlock(own, 1);
      assert.equal(stampOf(buffer.page).block, 1);
      buffer.release();
    });
  });
});
