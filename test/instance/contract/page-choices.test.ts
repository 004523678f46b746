/**
 * Rows Z-02, Z-09, I-02, I-03, D-54, D-55, D-56: what to do about bad pages, as users say it: for one read or stream, for a
 * backend, for an instance. What is done then is in page-verdicts.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { Rings } from '../../../src/aio/method/io-uring/rings.js';
import type { IoHandle } from '../../../src/aio/handle.js';
import type { LogEvent } from '../../../src/base/log.js';
import type { Backend } from '../../../src/instance/backend.js';
import { attachInstance } from '../../../src/instance/instance.js';
import type { StreamOptions } from '../../../src/instance/relation-options.js';
import { sequentialBlocks } from '../../../src/read-stream/block-sources.js';
import type { SmgrRelation } from '../../../src/smgr/smgr.js';
import { BlockReads } from '../../../testing/block-reads.js';
import { Injection } from '../../../testing/injection.js';
import { forEachMethod, openRig, withRig, type Rig } from '../../../testing/instances.js';
import { stampedPage, type Damage } from '../../../testing/relations.js';
import { untilTrue } from '../../../testing/turns.js';

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

/** One more backend in this thread, with a log of its own. */
async function attachQuietly(rig: Rig): Promise<{ backend: Backend; log: LogEvent[] }> {
  const log: LogEvent[] = [];
  return { backend: await attachInstance(rig.instance.handle, { log: (event) => log.push(event) }), log };
}

/** What is in the page cache is complete when it is submitted, and taken by who submits, unless another is at it. */
function withRingTaken<T>(rig: Rig, owner: Backend, by: Backend, work: () => T): T {
  const { slots, plan } = rig.backend.parts.memory;
  if (rig.instance.settings.ioMethod !== 'io_uring') return work();
  const rings = new Rings(slots, plan.rings);
  assert.ok(rings.tryLock(owner.number, by.number));
  try {
    return work();
  } finally {
    rings.unlock(owner.number, by.number);
  }
}

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

  for (const zeroing of [true, false]) {
    const other = zeroing ? 'its completer would not' : 'its completer would';
    it(`D-55, D-54, D-56: who issues ${zeroing ? 'zeroes' : 'does not zero'}, ${other}`, async (context) => {
      const injection = new Injection();
      await withRig({ ioMethod, injection: injection.url }, async (rig) => {
        const [issuer, completer] = [await attachQuietly(rig), await attachQuietly(rig)];
        const completedBy: number[] = [];
        for (const { backend } of [issuer, completer]) {
          const { thread, slot } = backend.parts;
          const complete = thread.completeShared.bind(thread);
          context.mock.method(thread, 'completeShared', (io: IoHandle) => {
            completedBy.push(slot);
            complete(io);
          });
        }
        const locator = rig.data.write(1, BLOCKS, { damaged: { [BAD]: 'checksum' } });
        const blocks = new BlockReads(issuer.backend, rig.data.path, locator);
        const hold = ioMethod === 'worker' ? injection.hold('beforeSharedCompletion', { relation: 1 }) : null;

        issuer.backend.zeroDamagedPages = zeroing;
        const op = withRingTaken(rig, issuer.backend, completer.backend, () => blocks.start(BAD, 1));
        await hold?.arrived();
        for (const { backend } of [issuer, completer]) backend.zeroDamagedPages = !zeroing; // too late
        hold?.release();
        const { aio } = completer.backend;
        aio.waits.block(() => aio.waitFor(op.ioHandle, op.ioGeneration));

        const expected = { worker: [], io_uring: [completer.backend.number], sync: [issuer.backend.number] };
        assert.deepEqual(completedBy, expected[ioMethod], 'in a worker, in who waits, in who issues');
        assert.equal(completer.backend.buffers.bufferIo.isValid(op.buffer(0)), zeroing);
        const events = (): string[] =>
          rig.log.filter(({ path }) => path !== undefined).map(({ level }) => level);
        await untilTrue(() => events().length > 0);
        assert.deepEqual(events(), ['log']);
        assert.deepEqual([issuer.log, completer.log], [[], []], 'nobody has awaited it as its issuer');
        assert.deepEqual(issuer.backend.checksumFailures(), [], 'nor counted for it');

        const relation = blocks.relation;
        const read = blocks.copy(op).then((pages) => pages[0]!);
        assert.equal(await outcomeOf(read, relation), zeroing ? 'zeroed' : 'error');
        const warnings = issuer.log.map(({ level, code }) => [level, code]);
        assert.deepEqual(warnings, zeroing ? [['warning', 'PGAIO_PAGE_ZEROED']] : []);
        assert.deepEqual(completer.log, []);
        const failures = issuer.backend.checksumFailures().map((row) => [row.database, row.failures]);
        assert.deepEqual(failures, [[5, 1]]);
        for (const { backend } of [issuer, completer]) await backend.close();
      });
    });
  }

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
