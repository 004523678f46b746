/**
 * Rows Z-02, Z-09, I-02, I-03, D-54, D-55: what to do about bad pages, as users say it: for one read or stream, for a
 * backend, for an instance. What is done then is in page-verdicts.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Backend } from '../../../src/instance/backend.js';
import type { StreamOptions } from '../../../src/instance/relation-options.js';
import { sequentialBlocks } from '../../../src/read-stream/block-sources.js';
import type { SmgrRelation } from '../../../src/smgr/smgr.js';
import { forEachMethod, openRig, withRig, type Rig } from '../../../testing/instances.js';
import { stampedPage, type Damage } from '../../../testing/relations.js';

const BLOCKS = 6;
const BAD = 2;

/** What became of the bad page. */
type Outcome = 'error' | 'zeroed' | 'as it is';
type Options = Pick<StreamOptions, 'zeroOnError' | 'ignoreChecksumFailure'>;
type Reader = (backend: Backend, relation: SmgrRelation, options: Options) => Promise<Uint8Array>;

/** The three ways to read; each gives a copy of the bad block. */
const READERS: Record<string, Reader> = {
  async readStream(backend, relation, options) {
    let found: Uint8Array | undefined;
    for await (const { block, page } of backend.readStream(relation, options))
      if (block === BAD) found = page.slice();
    assert.ok(found);
    return found;
  },
  rawReadStream(backend, relation, options) {
    return backend.scope((scope) => {
      const blocks = sequentialBlocks(BAD, BAD + 1);
      const stream = backend.rawReadStream(relation, blocks, { ...options, scope });
      const buffer = backend.aio.waits.block(() => stream.next());
      const page = stream.manager.page(buffer).slice();
      stream.manager.pool.unpin(buffer, scope);
      return page;
    });
  },
  async readBlock(backend, relation, options) {
    const buffer = await backend.readBlock(relation, BAD, options);
    const page = buffer.page.slice();
    buffer.release();
    return page;
  },
};

async function outcomeOf(read: Promise<Uint8Array>, relation: SmgrRelation): Promise<Outcome> {
  const page = await read.catch((error: unknown) => {
    assert.equal((error as Error).name, 'InvalidPageError');
    assert.equal((error as { block?: number }).block, BAD);
    return null;
  });
  if (page === null) return 'error';
  if (page.every((byte) => byte === 0)) return 'zeroed';
  const { relation: number } = relation.locator;
  const [got, written] = [page.subarray(24), stampedPage(number, BAD).subarray(24)];
  assert.equal(Buffer.compare(got, written), 0, 'all bytes behind the header are as in the file');
  return 'as it is';
}

const CASES: { damage: Damage; options: Options; outcome: Outcome }[] = [
  { damage: 'header', options: {}, outcome: 'error' },
  { damage: 'header', options: { ignoreChecksumFailure: true }, outcome: 'error' },
  { damage: 'header', options: { zeroOnError: true }, outcome: 'zeroed' },
  { damage: 'checksum', options: {}, outcome: 'error' },
  { damage: 'checksum', options: { zeroOnError: true }, outcome: 'zeroed' },
  { damage: 'checksum', options: { ignoreChecksumFailure: true }, outcome: 'as it is' },
  { damage: 'checksum', options: { zeroOnError: true, ignoreChecksumFailure: true }, outcome: 'as it is' },
];

forEachMethod((ioMethod) => {
  describe('Z-02, Z-09, I-02, I-03: choices of a read', () => {
    let rig: Rig;
    let backend: Backend;
    let lastRelation = 100;

    before(async () => {
      rig = await openRig({ ioMethod });
      backend = rig.backend;
    });
    afterEach(() => {
      backend.zeroDamagedPages = backend.ignoreChecksumFailure = false;
    });
    after(() => rig.close());

    function fresh(damage: Damage, own = false): SmgrRelation {
      const options = { damaged: { [BAD]: damage }, ...(own && { backend: backend.number }) };
      return backend.openRelation(rig.data.path, rig.data.write(++lastRelation, BLOCKS, options));
    }
    const warningsOf = (relation: SmgrRelation): (string | undefined)[] =>
      rig.log
        .filter(
          ({ level, path }) =>
            level === 'warning' && path?.endsWith(String(relation.locator.relation)) === true,
        )
        .map(({ code }) => code);
    const codes: Record<Outcome, string[]> = {
      error: [],
      zeroed: ['PGAIO_PAGE_ZEROED'],
      'as it is': ['PGAIO_CHECKSUM_FAILURE_IGNORED'],
    };

    for (const [name, read] of Object.entries(READERS)) {
      for (const own of [false, true]) {
        for (const { damage, options, outcome } of CASES) {
          it(`${name}, ${own ? 'private' : 'shared'}, ${damage}, ${JSON.stringify(options)}`, async () => {
            const relation = fresh(damage, own);
            assert.equal(await outcomeOf(read(backend, relation, options), relation), outcome);
            assert.deepEqual(warningsOf(relation), codes[outcome]);
          });
        }
      }
      it(`${name}: the backend's choices hold besides, until it changes them`, async () => {
        const say = async (damage: Damage, options: Options = {}): Promise<Outcome> => {
          const relation = fresh(damage);
          return outcomeOf(read(backend, relation, options), relation);
        };
        backend.zeroDamagedPages = true;
        assert.equal(await say('header', { zeroOnError: false }), 'zeroed', 'a read adds to them only');
        assert.equal(await say('checksum', { ignoreChecksumFailure: true }), 'as it is');
        backend.zeroDamagedPages = false;
        assert.equal(await say('header'), 'error');
        backend.ignoreChecksumFailure = true;
        assert.equal(await say('checksum', { ignoreChecksumFailure: false }), 'as it is');
        assert.equal(await say('both'), 'error');
      });
    }
  });

  it('Z-09, I-02, D-55: the settings of the instance are what each backend starts with, and each changes its own', async () => {
    const settings = { ioMethod, zeroDamagedPages: true, ignoreChecksumFailure: true };
    await withRig(settings, async (rig) => {
      const other = await rig.attach();
      rig.backend.zeroDamagedPages = false;
      const ask = (backend: Backend, number: number, damage: Damage): Promise<Outcome> => {
        const locator = rig.data.write(number, BLOCKS, { damaged: { [BAD]: damage } });
        const relation = backend.openRelation(rig.data.path, locator);
        return outcomeOf(READERS['readBlock']!(backend, relation, {}), relation);
      };
      assert.equal(await ask(rig.backend, 1, 'header'), 'error');
      assert.equal(await ask(rig.backend, 2, 'checksum'), 'as it is');
      assert.equal(await ask(other, 3, 'header'), 'zeroed');
      assert.equal(await ask(other, 4, 'checksum'), 'as it is');
      assert.deepEqual(
        [other.zeroDamagedPages, other.ignoreChecksumFailure, rig.backend.zeroDamagedPages],
        [true, true, false],
      );
    });
  });

  it('D-54: what was found last is in the log when the instance has closed', async () => {
    await withRig({ ioMethod }, async (rig) => {
      const locator = rig.data.write(1, BLOCKS, { damaged: { [BAD]: 'header', 4: 'checksum' } });
      const relation = rig.backend.openRelation(rig.data.path, locator);
      // Blocking, so that this thread's loop reads nothing of the log before the end.
      const stream = rig.backend.rawReadStream(relation, sequentialBlocks(0, BLOCKS), {});
      assert.throws(() => {
        for (;;) rig.backend.aio.waits.block(() => stream.next());
      }, /invalid page/);
      await rig.instance.close();
      const found = rig.log.filter(({ level }) => level === 'log').map(({ block }) => block);
      assert.ok(found.includes(BAD), 'all that were completed are there');
    });
  });
});
